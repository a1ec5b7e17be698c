"""The HTTP layer: everything that depends on HTTP.

app          creates the application and its dependencies
middleware   around every request: API keys, limits, request ids, security headers, access log
problems     the table that maps errors to statuses
body         request bodies → pictures, files, JSON
routes/      one file per group of endpoints: read the request, call the core, write the response
"""
