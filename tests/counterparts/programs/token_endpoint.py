"""A token endpoint on 127.0.0.1, made of Authlib's own grants: the real verifier of what the host sends.

    python token_endpoint.py PORT PUBLIC_KEY.pem CLIENT_SECRET

POST /token                        JWT bearer grant (RFC 7523), RS256, for deploy@project.iam.gserviceaccount.com
POST /TENANT/oauth2/v2.0/token     client credentials (RFC 6749 section 4.4), secret in the form, for client `app`
GET  /computeMetadata/…/token      the metadata server's form of an answer; refuses requests without `Metadata-Flavor`
GET  /resource                     needs a bearer token that was issued here (RFC 6750)
GET  /issued                       how many tokens were issued
POST /revoke                       withdraws every token that was issued so far
POST /resource                     as GET; counts what it did
POST /own-reasons                  counts, and refuses with 401 for reasons of its own: without `WWW-Authenticate`
GET  /never                        refuses every token, as RFC 6750 says
GET  /done                         how often POST /resource and POST /own-reasons did something
"""

import sys
import time

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector, current_token
from authlib.oauth2.rfc6749 import ClientMixin, TokenMixin, grants
from authlib.oauth2.rfc6750 import BearerTokenValidator
from authlib.oauth2.rfc7523 import JWTBearerGrant
from flask import Flask, jsonify, request
from joserfc.jwk import RSAKey

PORT, PUBLIC_KEY, CLIENT_SECRET = int(sys.argv[1]), open(sys.argv[2]).read(), sys.argv[3]
ACCOUNT = "deploy@project.iam.gserviceaccount.com"
LIFETIME = 3600


class Client(ClientMixin):
    def __init__(self, name, secret, grant):
        self.name, self.secret, self.grant = name, secret, grant

    def get_client_id(self):
        return self.name

    def get_default_redirect_uri(self):
        return None

    def get_allowed_scope(self, scope):
        # An assertion carries its scope itself; the form has none then.
        return scope or ""

    def check_redirect_uri(self, redirect_uri):
        return False

    def check_client_secret(self, client_secret):
        return self.secret is not None and client_secret == self.secret

    def check_endpoint_auth_method(self, method, endpoint):
        return method == "client_secret_post"

    def check_response_type(self, response_type):
        return False

    def check_grant_type(self, grant_type):
        return grant_type == self.grant


class Token(TokenMixin):
    def __init__(self, value, scope):
        self.value, self.scope, self.until, self.revoked = value, scope, time.time() + LIFETIME, False

    def get_scope(self):
        return self.scope

    def get_expires_in(self):
        return LIFETIME

    def is_expired(self):
        return time.time() > self.until

    def is_revoked(self):
        return self.revoked


clients = {
    "app": Client("app", CLIENT_SECRET, "client_credentials"),
    ACCOUNT: Client(ACCOUNT, None, JWTBearerGrant.GRANT_TYPE),
}
tokens = {}
done = {"resource": 0, "own-reasons": 0}


def save_token(token, _request):
    tokens[token["access_token"]] = Token(token["access_token"], token.get("scope", ""))


class AppGrant(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_post"]


class AccountGrant(JWTBearerGrant):
    def resolve_issuer_client(self, issuer):
        return clients.get(issuer)

    def resolve_client_public_key(self, client):
        return RSAKey.import_key(PUBLIC_KEY)

    def get_audiences(self):
        return [f"http://127.0.0.1:{PORT}/token"]

    def authenticate_user(self, subject):
        return None

    def has_granted_permission(self, client, user):
        return True


class Validator(BearerTokenValidator):
    def authenticate_token(self, token_string):
        return tokens.get(token_string)


app = Flask(__name__)
app.config["OAUTH2_TOKEN_EXPIRES_IN"] = {"client_credentials": LIFETIME, JWTBearerGrant.GRANT_TYPE: LIFETIME}
server = AuthorizationServer(app, query_client=clients.get, save_token=save_token)
server.register_grant(AppGrant)
server.register_grant(AccountGrant)
protect = ResourceProtector()
protect.register_token_validator(Validator())


@app.post("/token")
@app.post("/<tenant>/oauth2/v2.0/token")
def issue(tenant=None):
    return server.create_token_response()


@app.get("/computeMetadata/v1/instance/service-accounts/default/token")
def metadata():
    if request.headers.get("Metadata-Flavor") != "Google":
        return "Missing Metadata-Flavor:Google header.\n", 403
    value = f"metadata-{len(tokens)}"
    tokens[value] = Token(value, request.args.get("scopes", ""))
    answer = jsonify(access_token=value, expires_in=LIFETIME, token_type="Bearer")
    answer.headers["Metadata-Flavor"] = "Google"
    return answer


@app.get("/resource")
@protect(None)
def resource():
    return jsonify(scope=current_token.get_scope())


@app.post("/resource")
@protect(None)
def change():
    done["resource"] += 1
    return jsonify(body=request.get_data(as_text=True))


@app.post("/own-reasons")
def own_reasons():
    done["own-reasons"] += 1
    return "this account is suspended", 401


@app.get("/never")
def never():
    return "", 401, {"WWW-Authenticate": 'Bearer error="invalid_token"'}


@app.get("/done")
def what_was_done():
    return jsonify(**done)


@app.post("/revoke")
def revoke():
    for token in tokens.values():
        token.revoked = True
    return ""


@app.get("/issued")
def issued():
    return jsonify(count=len(tokens))


app.run("127.0.0.1", PORT)
