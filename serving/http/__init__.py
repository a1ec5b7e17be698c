"""The HTTP layer: everything that depends on HTTP.

app          creates the application and its dependencies
middleware   around every HTTP request: admission, body limits, response headers, access log
websocket    the same around every WebSocket
endpoint     what an endpoint declares beside its handler, and the objects that it uses
auth         API keys, scopes, rates
problems     the table that maps errors to statuses
request/     options and bodies of requests → pictures, files, JSON
routes/      one file per group of endpoints: read the request, call the core, write the response
openapi      the OpenAPI document, from the types that are written to the wire
server/      uvicorn: connections, protocols, processes
telemetry/   metrics, logs, traces
"""
