-- For wrk: POST one file, at a fixed rate when MIEN_RATE is set, and print what was measured as one JSON line.
local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds; long nanoseconds; } mien_time;
  int clock_gettime(int clock, mien_time *time);
]])

local body = assert(io.open(os.getenv("MIEN_BODY"), "rb"))
wrk.method = "POST"
wrk.body = body:read("*a")
wrk.headers["Content-Type"] = os.getenv("MIEN_CONTENT_TYPE") or "application/octet-stream"
body:close()

local rate = tonumber(os.getenv("MIEN_RATE") or "0")
local time = ffi.new("mien_time")

local function now_ms()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.seconds) * 1e3 + tonumber(time.nanoseconds) / 1e6
end

if rate > 0 then
  local next_ms = nil
  -- Whichever connection is free takes the next place of one timetable.
  function delay()
    local now = now_ms()
    next_ms = math.max((next_ms or now) + 1e3 / rate, now - 1e3)
    return math.max(0, math.floor(next_ms - now + 0.5))
  end
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %.6f, "failed": %d, "p50_ms": %.4f, "p95_ms": %.4f, "p99_ms": %.4f}\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
