"""The edge: everything that knows of HTTP.

app          builds the parts and joins them
middleware   limits, keys, request ids, security headers, access log: around every request
problems     the one table from errors to statuses
uploads      request bodies → bytes, files, JSON
routes/      one file per group of endpoints: read the request, call the core, write the answer
"""
