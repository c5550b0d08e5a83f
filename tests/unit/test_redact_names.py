"""Which names say that a secret follows."""

import pytest

from shipper.redact.names import Names
from shipper.settings import Pack

CREDENTIALS = Names([Pack.CREDENTIALS])
ALL = Names(tuple(Pack))


@pytest.mark.parametrize(
    "name",
    [
        *("password", "PASSWORD", "Password", "passwd", "pwd", "db_pwd", "pass-word", "passphrase", "userPassword"),
        *("password_hash", "passwordConfirmation", "password2", "old.password", "MYSQL_ROOT_PASSWORD", "passwords"),
        *("secret", "client_secret", "clientSecret", "secretKey", "aws_secret_access_key", "secrets", "secret_id"),
        *("token", "access_token", "accessToken", "ACCESS-TOKEN", "refreshtoken", "id_token", "x-csrf-token", "token2"),
        *("tokens", "deviceTokens", "token_value", "jwt", "userJwt", "csrf", "_csrf", "xsrf-token", "bearer"),
        *("authorization", "Authorization", "proxy-authorization", "HTTP_AUTHORIZATION", "req.headers.authorization"),
        *("authorisation", "auth_header", "authorization_code", "auth-key", "basicAuth", "otp", "totp", "mfa_code"),
        *("cookie", "Cookie", "set-cookie", "Set-Cookie", "setCookie", "cookies", "session_cookie", "set-cookie2"),
        *("session", "user_session", "session_id", "sessionId", "sessionID", "PHPSESSID", "JSESSIONID", "connect.sid"),
        *("api_key", "apikey", "apiKey", "API-Key", "api key", "x-api-key", "stripe_api_keys", "private_key", "psk"),
        *("access_key_id", "encryptionKey", "signing-key", "Ocp-Apim-Subscription-Key", "smtp_pass", "pass", "dbPass"),
        *("user[password]", "body[user][token]", "--password", "X-Amz-Signature", "wifi_psk"),
        *("auth", "x-auth", "sid", "pin", "patientPin", "PIN code", "signature", "code_verifier", "SAMLResponse"),
        *("securityAnswer", "recovery_codes", "backupCode", "device_code"),
        *(
            "caf\u00e9_token",
            "wsse:Password",
            " password ",
            "password:",
            "a" * 101 + "password",
            "dbCreds",
            "ssh_priv_key",
        ),
    ],
)
def test_names_of_credentials(name: str) -> None:
    """Whatever the case and the marks between the words, and with words before."""
    found = CREDENTIALS.find(name.encode())
    assert found is not None
    assert "credentials.name" == found.rule


@pytest.mark.parametrize(
    "name",
    [
        *("", "name", "key", "keys", "cacheKey", "public_key", "primary-key", "partitionKey", "keyboard", "monkey"),
        *("passwordless", "passwordLength", "password_min_length", "passwordChangedAt", "password_reset_url"),
        *("passwordRequired", "password_policy", "passwordExpiresAt", "passwordLastChanged", "password-strength"),
        *("passed", "bypass", "compass", "passenger", "passport", "encompass", "bypasswarning", "pass_rate"),
        *("secretary", "secretName", "tokenizer", "token_type", "tokenExpiresAt", "token_count", "nextPageToken"),
        *("page_token", "continuationToken", "author", "authority", "authenticated", "oauth", "priorAuthorization"),
        *("pre-authorization", "authorization_status", "cookieConsent", "cookie_policy", "acceptCookies"),
        *("sessions", "sessionDuration", "training_session", "dialysisSession", "possession", "obsession"),
        *(
            "ootp",
            "desktop",
            "otpauth_enabled",
            "mailbox",
            "inside",
            "spin",
            "shipping",
            "user/token",
            "größe",
            "pässword",
        ),
        *("token\n", "POST /oauth/token", "primary:key"),
    ],
)
def test_names_that_only_look_like_credentials(name: str) -> None:
    """Counts, dates, policies and other words are left alone, and so is what is no name."""
    assert CREDENTIALS.find(name.encode()) is None


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("email", "contact.email"), ("E-Mail", "contact.email"), ("userEmailAddress", "contact.email"),
        ("phone", "contact.phone"), ("phoneNumber", "contact.phone"), ("home_tel", "contact.phone"),
        ("mobileNumber", "contact.phone"), ("ssn", "national_ids.ssn"), ("social_security_number", "national_ids.ssn"),
        ("mrn", "national_ids.mrn"), ("patientMrn", "national_ids.mrn"), ("medicalRecordNumber", "national_ids.mrn"),
        ("nhs_number", "national_ids.nhs"), ("passportNo", "national_ids.other"), ("cardNumber", "payment.card"),
        ("credit_card", "payment.card"), ("pan", "payment.card"), ("cvv", "payment.cvv"), ("iban", "payment.iban"),
        ("dob", "dates_of_birth.date"), ("dateOfBirth", "dates_of_birth.date"), ("birth_date", "dates_of_birth.date"),
        ("birthday", "dates_of_birth.date"), ("born", "dates_of_birth.date"), ("password", "credentials.name"),
    ],
)  # fmt: skip
def test_names_of_the_other_packs(name: str, rule: str) -> None:
    """Each pack has its names, and without the pack they mean nothing."""
    found = ALL.find(name.encode())
    assert found is not None
    assert rule == found.rule
    if not rule.startswith("credentials"):
        assert CREDENTIALS.find(name.encode()) is None


@pytest.mark.parametrize(
    "name", ["telemetry", "hotel", "japan", "company", "span", "cvs", "headphones", "unborn", "adobe"]
)
def test_names_that_only_look_personal(name: str) -> None:
    """Words that have such a name in them are other words."""
    assert ALL.find(name.encode()) is None


def test_no_pack_has_no_names() -> None:
    """Without packs no name means anything."""
    names = Names(())
    assert names.find(b"password") is None
    assert "" == names.expression
