"""Looks at container apps and changes them with Microsoft's own client, as somebody else than basb-host.

    azure_client.py ARM ENTRA SETTINGS COMMAND ARGUMENT...

facts                        every app with its table and its revisions
resize SERVICE REPLICAS      what serves is replaced by a revision in another size, which gets all requests
split SERVICE WEIGHT         an older revision is activated and gets a share
foreign NAME CONTAINER IMAGE ARGS   an app as somebody else would make it: `Single`, all requests to the latest revision
wire SERVICE                 sends what basb-host sent once more for another app, and compares the requests
"""
import copy
import json
import re
import sys
import time

import requests
from azure.core.pipeline.policies import SansIOHTTPPolicy
from azure.mgmt.appcontainers import ContainerAppsAPIClient, models

arm, entra, settings, command, *arguments = sys.argv[1:]
settings = json.loads(settings)
group, subscription = settings["group"], settings["subscription"]
form = {"grant_type": "client_credentials", "client_id": settings["clientId"], "client_secret": settings["clientSecret"],
        "scope": "https://management.azure.com/.default"}
answer = requests.post(f"{entra}/{settings['tenant']}/oauth2/v2.0/token", data=form, timeout=30)
answer.raise_for_status()
token = answer.json()["access_token"]


class Bearer(SansIOHTTPPolicy):
    """The client's own policy refuses http, also on this machine."""

    def on_request(self, request):
        request.http_request.headers["Authorization"] = f"Bearer {token}"


client = ContainerAppsAPIClient(object(), subscription, base_url=arm, api_version="2025-07-01", authentication_policy=Bearer(), polling_interval=0.2)
apps, revisions, replicas = client.container_apps, client.container_apps_revisions, client.container_apps_revision_replicas


def variable(template, name):
    return next((pair.value for pair in template.containers[0].env or [] if pair.name == name), None)


def facts():
    found = []
    for app in apps.list_by_resource_group(group):
        ingress = app.configuration.ingress
        table = ingress.traffic if ingress else []
        every = [{
            "name": of.name, "active": of.active, "weight": of.traffic_weight, "health": of.health_state,
            "revision": variable(of.template, "BASB_REVISION"), "least": of.template.scale.min_replicas,
            "ready": sum(all(one.ready for one in replica.containers) for replica in replicas.list_replicas(group, app.name, of.name).value),
        } for of in revisions.list_revisions(group, app.name)]
        found.append({
            "name": app.name, "tags": app.tags, "mode": app.configuration.active_revisions_mode, "state": app.provisioning_state,
            "service": app.template.containers[0].name, "reached": ingress is not None,
            "table": [{"revision": line.revision_name, "weight": line.weight, "label": line.label, "latest": line.latest_revision} for line in table],
            "revisions": every,
        })
    return found


def of_service(service):
    return next(app for app in apps.list_by_resource_group(group) if app.template.containers[0].name == service)


def update(app, properties):
    return apps.begin_update(group, app.name, {"location": app.location, "properties": properties}).result()


def lead(app, weights):
    update(app, {"configuration": {"ingress": {"traffic": [{"revisionName": name, "weight": weight} for name, weight in weights.items()]}}})


def resize(service, number):
    app = of_service(service)
    serving = max(app.configuration.ingress.traffic, key=lambda line: line.weight).revision_name
    template = revisions.get_revision(group, app.name, serving).template.as_dict()
    template["scale"] = {"minReplicas": int(number), "maxReplicas": 10}
    template["revisionSuffix"] = "resized"
    template.pop("volumes", None)
    for container in template["containers"]:
        container["resources"].pop("ephemeralStorage", None)
    update(app, {"template": template})
    lead(app, {f"{app.name}--resized": 100})
    revisions.deactivate_revision(group, app.name, serving)
    return {"changed": app.name}


def split(service, weight):
    app = of_service(service)
    serving = max(app.configuration.ingress.traffic, key=lambda line: line.weight).revision_name
    older = next(of.name for of in revisions.list_revisions(group, app.name) if not of.active)
    revisions.activate_revision(group, app.name, older)
    while revisions.get_revision(group, app.name, older).health_state != "Healthy":
        time.sleep(0.1)
    lead(app, {serving: 100 - int(weight), older: int(weight)})
    return {"changed": app.name, "older": older}


def foreign(name, container, image, args):
    app = models.ContainerApp(
        location="westeurope", environment_id=f"/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.App/managedEnvironments/main",
        configuration=models.Configuration(active_revisions_mode="Single", ingress=models.Ingress(external=True, target_port=8080, transport="auto")),
        template=models.Template(
            containers=[models.Container(name=container, image=image, args=json.loads(args), resources=models.ContainerResources(cpu=0.25, memory="0.5Gi"))],
            scale=models.Scale(min_replicas=2, max_replicas=3)))
    made = apps.begin_create_or_update(group, name, app).result()
    return {"made": made.name, "revision": made.latest_revision_name}


def wire(service):
    """Ours beside theirs: for the same app, change and action the two clients have to send the same."""
    app = of_service(service)
    log = requests.get(f"{entra}/log", timeout=30).json()
    ours = [entry for entry in log if entry["path"].split("/containerApps/")[-1].split("/")[0] == app.name and entry["status"] < 300]
    made = next(entry for entry in ours if entry["method"] == "PUT")
    changes = [entry for entry in ours if entry["method"] == "PATCH"]
    sent = {
        "app": made,
        "revision": next(entry for entry in changes if "template" in entry["body"]["properties"]),
        "traffic": next(entry for entry in changes if "traffic" in json.dumps(entry["body"])),
        "deactivate": next(entry for entry in ours if entry["path"].endswith("/deactivate")),
        "revisions": next(entry for entry in ours if entry["method"] == "GET" and entry["path"].endswith("/revisions")),
        "replicas": next(entry for entry in ours if entry["method"] == "GET" and entry["path"].endswith("/replicas")),
        "get": next(entry for entry in ours if entry["method"] == "GET" and entry["path"].endswith(app.name)),
    }
    other = "wire"
    renamed = lambda of: json.loads(json.dumps(of).replace(app.name, other))
    body = lambda name: models.ContainerApp(copy.deepcopy(renamed(sent[name]["body"])))
    # The first revision that the log knows: it is what the first change of the traffic names.
    first = f"{other}--{sent['app']['body']['properties']['template']['revisionSuffix']}"
    second = f"{other}--{sent['revision']['body']['properties']['template']['revisionSuffix']}"
    began = len(log)
    apps.begin_create_or_update(group, other, body("app")).result()
    order = ["revision", "traffic"] if second in json.dumps(renamed(sent["traffic"]["body"])) else ["traffic", "revision"]
    for name in order:
        apps.begin_update(group, other, body(name)).result()
    lead(apps.get(group, other), {first: 100})
    revisions.deactivate_revision(group, other, second)
    list(revisions.list_revisions(group, other))
    replicas.list_replicas(group, other, first)
    theirs = requests.get(f"{entra}/log", timeout=30).json()[began:]
    apps.begin_delete(group, other).result()

    def told(entry):
        """What a request asks for; whoever sends it may say more about itself in headers."""
        shape = re.sub(rf"{other}--[a-z0-9-]+", "REVISION", renamed(entry["path"]))
        kind = entry["headers"].get("content-type") if entry["body"] is not None else None
        return {"method": entry["method"], "path": shape, "query": entry["query"], "type": kind, "body": renamed(entry["body"])}

    differ = {name: told(entry) for name, entry in sent.items() if told(entry) not in [told(of) for of in theirs]}
    return {"compared": sorted(sent), "differ": differ, "theirs": [told(of) for of in theirs] if differ else []}


print(json.dumps(globals()[command](*arguments)))
