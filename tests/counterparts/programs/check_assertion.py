"""Verifies an assertion with PyJWT, and compares it with the one that google-auth makes from the same key file.

    python check_assertion.py KEY_FILE.json PUBLIC_KEY.pem AUDIENCE < ASSERTION

Prints `ok`, or what is wrong.
"""

import json
import sys

import google.oauth2.service_account
import jwt

key_file, public_key, audience = json.load(open(sys.argv[1])), open(sys.argv[2]).read(), sys.argv[3]
assertion = sys.stdin.read().strip()
claims = jwt.decode(assertion, public_key, algorithms=["RS256"], audience=audience, options={"require": ["iss", "aud", "iat", "exp"]})
header = jwt.get_unverified_header(assertion)

theirs = google.oauth2.service_account.Credentials.from_service_account_info(key_file, scopes=claims["scope"].split(" "))
their_assertion = theirs._make_authorization_grant_assertion()
their_claims = jwt.decode(their_assertion, public_key, algorithms=["RS256"], audience=audience)
assert header == jwt.get_unverified_header(their_assertion), (header, jwt.get_unverified_header(their_assertion))
assert set(claims) == set(their_claims), (claims, their_claims)
for name in ("iss", "scope", "aud"):
    assert claims[name] == their_claims[name], (name, claims, their_claims)
assert claims["exp"] - claims["iat"] == their_claims["exp"] - their_claims["iat"], (claims, their_claims)
print("ok")
