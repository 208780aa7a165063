"""OpenSearch's own client, opensearch-py: `make ENDPOINT INDEX MAPPING`, `fetch ENDPOINT PATTERN FOLDER`."""
import json
import sys

from opensearchpy import OpenSearch

import counting

verb, endpoint = sys.argv[1:3]
client = OpenSearch(endpoint, timeout=60)
if verb == "make":
    index, mapping = sys.argv[3:]
    client.indices.create(index=index, body=json.loads(mapping))
else:
    pattern, folder = sys.argv[3:]
    count = counting.Count(folder)
    sources, ids = {}, []
    indexes = sorted(client.indices.get(index=pattern)) if client.indices.exists(index=pattern) else []
    for index in indexes:
        client.indices.refresh(index=index)
        after = None
        while True:
            query = {"size": 5000, "sort": ["_id"], "query": {"match_all": {}}}
            if after:
                query["search_after"] = after
            hits = client.search(index=index, body=query)["hits"]["hits"]
            for hit in hits:
                ids.append((index, hit["_id"]))
                sources.setdefault(index, []).append(json.dumps(hit["_source"], ensure_ascii=False))
            if len(hits) < 5000:
                break
            after = hits[-1]["sort"]
        found = client.count(index=index)["count"]
        assert found == len(sources.get(index, [])), f"{index}: search gives not the {found} that it counts"
    for index, texts in sources.items():
        text = ("\n".join(texts) + "\n").encode()
        count.take(f"{index}/documents.log", text, text)
    count.say(indexes=indexes, documents=len(ids), ids=len(set(ids)), sample=[id for _, id in ids[:3]])
