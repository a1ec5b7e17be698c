"""The server's side: uvicorn with limits for connections, heads and frames, and the processes that answer.

uvicorn_server      uvicorn with a shutdown that loses no request
workers             the parent of several processes on one address
http_protocol       one HTTP connection
websocket_protocol  one WebSocket connection
connections         all open connections of a process, and the end of streams at shutdown
"""
