"""Microsoft's own client, azure-storage-blob: `make ENDPOINT KEY CONTAINER`, `sas ACCOUNT KEY CONTAINER PERMISSIONS
SECONDS`, `fetch ENDPOINT KEY CONTAINER PREFIX FOLDER`."""
import datetime
import sys

from azure.core.exceptions import ResourceExistsError
from azure.storage.blob import ContainerClient, generate_container_sas

import counting

if sys.argv[1] == "sas":
    account, key, container, permissions, seconds = sys.argv[2:]
    now = datetime.datetime.now(datetime.timezone.utc)
    hour = datetime.timedelta(hours=1)
    print(generate_container_sas(
        account, container, account_key=key, permission=permissions, start=now - hour,
        expiry=now + datetime.timedelta(seconds=int(seconds)),
    ))
    sys.exit()

verb, endpoint, key, container = sys.argv[1:5]
client = ContainerClient(endpoint, container, credential=key)
if verb == "make":
    try:
        client.create_container()
    except ResourceExistsError:
        pass
else:
    prefix, folder = sys.argv[5:]
    count = counting.Count(folder)
    heads = {}
    for blob in client.list_blobs(name_starts_with=prefix):
        count.take(blob.name, client.download_blob(blob.name).readall())
        kind = blob.content_settings
        heads[blob.name] = {"type": kind.content_type, "encoding": kind.content_encoding}
    whole = set(heads)
    begun = [blob.name for blob in client.list_blobs(name_starts_with=prefix, include=["uncommittedblobs"]) if blob.name not in whole]
    count.say(heads=heads, unfinished=len(begun))
