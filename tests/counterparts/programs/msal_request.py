"""Prints, as JSON, the token request that msal (Microsoft's own library) makes for client credentials.

    python msal_request.py TENANT CLIENT_ID CLIENT_SECRET SCOPE
"""

import json
import sys

import msal

TENANT, CLIENT_ID, CLIENT_SECRET, SCOPE = sys.argv[1:]
AUTHORITY = f"https://login.microsoftonline.com/{TENANT}"
recorded = {}


class Answer:
    status_code, headers = 200, {}

    def __init__(self, body):
        self.text = json.dumps(body)

    def raise_for_status(self):
        pass


class Recorder:
    def get(self, url, **_):
        return Answer({
            "issuer": f"{AUTHORITY}/v2.0",
            "authorization_endpoint": f"{AUTHORITY}/oauth2/v2.0/authorize",
            "token_endpoint": f"{AUTHORITY}/oauth2/v2.0/token",
        })

    def post(self, url, data=None, headers=None, **_):
        recorded.update(url=url, form=data, headers=headers)
        return Answer({"access_token": "t", "expires_in": 3599, "token_type": "Bearer"})


app = msal.ConfidentialClientApplication(
    CLIENT_ID, client_credential=CLIENT_SECRET, authority=AUTHORITY, http_client=Recorder(), instance_discovery=False
)
assert "access_token" in app.acquire_token_for_client([SCOPE])
print(json.dumps(recorded))
