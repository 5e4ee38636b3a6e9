"""A second client: Google's own (google-api-python-client), with a token of its own. Prints JSON.

gcp_client.py ENDPOINT KEY_FILE PARENT facts
gcp_client.py ENDPOINT KEY_FILE PARENT traffic SERVICE      half of the traffic to a new revision of somebody's
gcp_client.py ENDPOINT KEY_FILE PARENT create SERVICE IMAGE a service that follows its latest revision
gcp_client.py ENDPOINT KEY_FILE PARENT story SERVICE IMAGE  every kind of request that the provider sends
"""

import json
import sys
import time

from google.oauth2 import service_account
from googleapiclient import discovery

endpoint, key, parent, what = sys.argv[1:5]
scopes = ["https://www.googleapis.com/auth/cloud-platform"]
with open(key, encoding="utf-8") as file:
    info = {**json.load(file), "token_uri": f"{endpoint}/token"}
credentials = service_account.Credentials.from_service_account_info(info, scopes=scopes)
run = discovery.build(
    "run", "v2", credentials=credentials, client_options={"api_endpoint": endpoint}, static_discovery=True
)
locations = run.projects().locations()
services = locations.services()


def short(name):
    return name.rsplit("/", 1)[-1]


def wait(operation):
    while not operation.get("done"):
        time.sleep(0.05)
        operation = locations.operations().get(name=operation["name"]).execute()
    if "error" in operation:
        raise SystemExit(operation["error"]["message"])
    return operation


def revisions(service):
    found, request = [], services.revisions().list(parent=service, pageSize=100)
    while request:
        page = request.execute()
        found += page.get("revisions", [])
        request = services.revisions().list_next(request, page)
    return found


def facts():
    seen = []
    for service in services.list(parent=parent).execute().get("services", []):
        seen.append(
            {
                "name": short(service["name"]),
                "labels": service.get("labels", {}),
                "uri": service["uri"],
                "latest": short(service["latestCreatedRevision"]),
                "traffic": service["traffic"],
                "statuses": service.get("trafficStatuses", []),
                "revisions": [
                    {"name": short(of["name"]), "labels": of.get("labels", {}), "ready": of["conditions"][0]["state"]}
                    for of in revisions(service["name"])
                ],
            }
        )
    return {"services": seen}


def change(name, mask, body):
    etag = services.get(name=name).execute()["etag"]
    return wait(services.patch(name=name, updateMask=mask, body={**body, "etag": etag}).execute())


if what == "facts":
    print(json.dumps(facts()))
elif what == "traffic":
    name = f"{parent}/services/{sys.argv[5]}"
    service = services.get(name=name).execute()
    template = service["template"]
    template["revision"] = f"{sys.argv[5]}-by-hand"
    template["containers"][0].setdefault("env", []).append({"name": "BY_HAND", "value": "yes"})
    change(name, "template", {"template": template})
    halves = []
    for target in service["traffic"]:
        percent = target.get("percent", 0)
        halves.append({**target, "percent": percent // 2})
    halves.append({"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": template["revision"], "percent": 50})
    change(name, "traffic", {"traffic": halves})
    print(json.dumps({"changed": 1}))
elif what in ("create", "story"):
    service, image = sys.argv[5:7]
    name = f"{parent}/services/{service}"
    body = {"template": {"containers": [{"image": image, "args": ["capture"], "ports": [{"containerPort": 8080}]}]}}
    if what == "story":
        body["template"]["revision"] = f"{service}-one"
        body["traffic"] = [
            {
                "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
                "revision": f"{service}-one",
                "percent": 100,
                "tag": "one",
            }
        ]
        services.create(parent=parent, serviceId=service, body=body, validateOnly=True).execute()
    wait(services.create(parent=parent, serviceId=service, body=body).execute())
    if what == "story":
        there = services.get(name=name).execute()
        template = {**there["template"], "revision": f"{service}-two"}
        services.patch(
            name=name, updateMask="template", validateOnly=True, body={"template": template, "etag": there["etag"]}
        ).execute()
        change(name, "template", {"template": template})
        to = lambda revision, percent: {
            "type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION",
            "revision": f"{service}-{revision}",
            "percent": percent,
        }
        change(name, "traffic", {"traffic": [to("two", 100)]})
        revisions(name)
        wait(services.revisions().delete(name=f"{name}/revisions/{service}-one").execute())
        etag = services.get(name=name).execute()["etag"]
        wait(services.delete(name=name, etag=etag).execute())
    print(json.dumps(facts()))
