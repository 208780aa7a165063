"""Sends one record with a vendor's own client library: vendor_client.py datadog|splunk HOST PORT TOKEN. Prints nothing."""
import logging
import sys


def datadog(host, port, token):
    from datadog_api_client import ApiClient, Configuration
    from datadog_api_client.v2.api.logs_api import LogsApi
    from datadog_api_client.v2.model.content_encoding import ContentEncoding
    from datadog_api_client.v2.model.http_log import HTTPLog
    from datadog_api_client.v2.model.http_log_item import HTTPLogItem

    configuration = Configuration()
    configuration.api_key["apiKeyAuth"] = token
    with ApiClient(configuration) as client:
        api = LogsApi(client)
        api._submit_log_endpoint.settings["servers"] = [{"url": f"http://{host}:{port}"}]
        items = [HTTPLogItem(message="one"), HTTPLogItem(message="two")]
        api.submit_log(HTTPLog(items), content_encoding=ContentEncoding.GZIP)


def splunk(host, port, token):
    from splunk_hec_handler import SplunkHecHandler

    handler = SplunkHecHandler(host, token, port=int(port), proto="http", sourcetype="edge", index="main")
    logger = logging.getLogger("edge")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info({"seq": 1})


{"datadog": datadog, "splunk": splunk}[sys.argv[1]](*sys.argv[2:])
