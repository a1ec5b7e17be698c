"""Client of the mien service, for programs that block and for asyncio.

`answers` has what the methods return, `errors` what they raise.
"""

from mien_client import answers, errors
from mien_client.calls import Faces, Picture
from mien_client.client import AsyncClient, Client
from mien_client.errors import MienError
from mien_client.exchange import VERSION, Retries

__version__ = VERSION
__all__ = ["AsyncClient", "Client", "Faces", "MienError", "Picture", "Retries", "answers", "errors"]
