"""Google's own client, google-cloud-storage: `make ENDPOINT BUCKET`, `fetch ENDPOINT BUCKET PREFIX FOLDER`."""
import sys

from google.api_core.exceptions import Conflict
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

import counting

verb, endpoint, bucket = sys.argv[1:4]
client = storage.Client(
    project="tests", credentials=AnonymousCredentials(), client_options={"api_endpoint": endpoint}
)
if verb == "make":
    try:
        client.create_bucket(bucket)
    except Conflict:
        pass
else:
    prefix, folder = sys.argv[4:]
    count = counting.Count(folder)
    heads = {}
    for blob in client.list_blobs(bucket, prefix=prefix):
        # As stored: without this a blob with a content encoding is decoded on its way.
        count.take(blob.name, blob.download_as_bytes(raw_download=True))
        heads[blob.name] = {"type": blob.content_type, "encoding": blob.content_encoding}
    count.say(heads=heads, unfinished=0)
