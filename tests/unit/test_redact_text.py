"""Secrets in lines that are no JSON, and in texts: what is taken out, and what is left."""

import pytest

from shipper.redact.rules import Rules
from shipper.settings import Pack, RedactAction, RedactSettings

DEFAULT = Rules(RedactSettings(), key=b"")
ALL = Rules(RedactSettings(packs=tuple(Pack)), key=b"")


def redacted(line: str, rules: Rules = DEFAULT) -> str:
    return rules.redact_line(line.encode(), []).decode()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("password=hunter2", "password=***"),
        ("user=bob password=hunter2 ip=10.0.0.1", "user=bob password=*** ip=10.0.0.1"),
        ("Password: hunter2", "Password: ***"),
        ("db_password = hunter2;", "db_password = ***;"),
        ('password="hunter 2" x', 'password="***" x'),
        ("{'password': 'hunter 2', 'x': 1}", "{'password': '***', 'x': 1}"),
        ('"password": "a\\"b", "x"', '"password": "***", "x"'),
        ("password => 'x'", "password => '***'"),
        ("user[password]=a&x=1", "user[password]=***&x=1"),
        ("user%5Bpassword%5D=a&x=1", "user%5Bpassword%5D=***&x=1"),
        ("GET /cb?a=1&token=abc&b=2", "GET /cb?a=1&token=***&b=2"),
        ("next=%2Fx%3Ftoken%3Dabc%26b%3D2", "next=%2Fx%3Ftoken%3D***%26b%3D2"),
        ("next=%252Fx%253Ftoken%253Dabc", "next=%252Fx%253Ftoken%253D***"),
        ("(password=hunter2)", "(password=***)"),
        ("[token: abc]", "[token: ***]"),
        ("{password=hunter2, user=bob}", "{password=***, user=bob}"),
        ("password=a,b;c)d x", "password=*** x"),
        ("Server=db;Password=a=b;Database=x", "Server=db;Password=***;Database=x"),
        ("run --password hunter2 --verbose", "run --password *** --verbose"),
        ("run --db-password=hunter2", "run --db-password=***"),
        ("<password>hunter2</password>", "<password>***</password>"),
        ('<s:Password Type="x">hunter2</s:Password>', '<s:Password Type="x">***</s:Password>'),
        ("<token><![CDATA[abc]]></token>", "<token><![CDATA[***]]></token>"),
        ("Authorization: Bearer abc.def", "Authorization: ***"),
        ('Authorization: Digest username="bob", response="a,b" tail', "Authorization: *** tail"),
        ("Cookie: a=b; sid=c; HttpOnly next", "Cookie: *** next"),
        ("session: deadbeef", "session: ***"),
        ("session=started", "session=***"),
        ("credentials=bob:hunter2", "credentials=***"),
        ("Set-Cookie: a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT, c=d; Path=/", "Set-Cookie: ***"),
        ("session: {id: 'a}b', n: 1} done", "session: *** done"),
        ('{"tokens":["a}","b"],"x":1', '{"tokens":***,"x":1'),
        ('{\\"password\\":\\"a\\\\\\"b\\",\\"x\\":1} cut', '{\\"password\\":\\"***\\",\\"x\\":1} cut'),
        ('{"message":"{\\"password\\":\\"hunter2\\"}","x":', '{"message":"{\\"password\\":\\"***\\"}","x":'),
        ('{"password":"hunter2', '{"password":"***'),
        ('{"p\\u0061ssword":"hunter2"', '{"password":"***"'),
        ("password[]=a&x=1", "password[]=***&x=1"),
        ("user[password][0]=a&x=1", "user[password][0]=***&x=1"),
        ("password%5B0%5D=a&x=1", "password%5B0%5D=***&x=1"),
        ("{b'password': b'hunter 2', 'x': 1}", "{b'password': b'***', 'x': 1}"),
        ("{ password: \x1b[32m'hunter 2'\x1b[39m }", "{ password: \x1b[32m'***'\x1b[39m }"),
        ("\x1b[1;36mAuthorization\x1b[39m=\x1b[33mabc\x1b[39m", "\x1b[1;36mAuthorization\x1b[39m=\x1b[33m***\x1b[39m"),
        ('"\\u001b[36mAuthorization\\u001b[39m: abc" cut', '"\\u001b[36mAuthorization\\u001b[39m: ***" cut'),
        ("tokens: \x1b[33m512\x1b[39m", "tokens: \x1b[33m512\x1b[39m"),
        ('Authorization: OAuth oauth_nonce="a", oauth_signature="b,c" tail', "Authorization: *** tail"),
        ("x" * 200 + "_password=hunter2", "x" * 200 + "_password=***"),
        ('{\\u0022password\\u0022:\\u0022a b\\u0022', '{\\"password\\":\\"***\\"'),
        ("rawHeaders: [ 'Host', 'a', 'Authorization', 'x1', 'Set-Cookie', 'a b' ]",
         "rawHeaders: [ 'Host', 'a', 'Authorization', '***', 'Set-Cookie', '***' ]"),
        ("[(b'cookie', b'a=b'), (b'host', b'c')]", "[(b'cookie', b'***'), (b'host', b'c')]"),
        ("{ name: 'Cookie', value: 'a b' }", "{ name: 'Cookie', value: '***' }"),
        ("{ value: 'a b', key: 'db.password' }", "{ value: '***', key: 'db.password' }"),
        ('<header name="X-Api-Key" value="x"/>', '<header name="X-Api-Key" value="***"/>'),
        ('{"headers":[{"name":"Cookie","value":"a', '{"headers":[{"name":"Cookie","value":"***'),
        ('["--password","a b",', '["--password","***",'),
        ("&quot;password&quot;:&quot;a b&quot;,&quot;x&quot;:1",
         "&quot;password&quot;:&quot;***&quot;,&quot;x&quot;:1"),
        ("&amp;#34;pwd&amp;#34; : &amp;#34;a b", "&amp;#34;pwd&amp;#34; : &amp;#34;***"),
        ("&lt;password&gt;a &amp; b&lt;/password&gt;", "&lt;password&gt;***&lt;/password&gt;"),
        ("GET /x?p%61ss%77ord=a&b=1", "GET /x?password=***&b=1"),
        ("code: 1, pin: 1234, pin: 17", "code: 1, pin: ***, pin: 17"),
        ("sid=3f2a1b4c5d6e7f8091a2 auth=ldap", "sid=*** auth=ldap"),
        ("recovery code: AB12-CD34", "recovery code: ***"),
        ('User { password: Some("a b"), n: Some(1) }', 'User { password: Some("***"), n: Some(1) }'),
        ("[Symbol(token)]: 'a b'", "[Symbol(token)]: '***'"),
        ('["password"]=>\n  string(3) "a b"', '["password"]=>\n  string(3) "***"'),
        ('s:8:"password";s:3:"a b";s:1:"x";', 's:8:"password";s:3:"***";s:1:"x";'),
        ('form-data; name="password"\r\n\r\na b\r\n--x', 'form-data; name="password"\r\n\r\n***\r\n--x'),
        ('{"m":"form-data; name=\\"password\\"\\r\\n\\r\\na b\\r\\n--x',
         '{"m":"form-data; name=\\"password\\"\\r\\n\\r\\n***\\r\\n--x'),
        ("token: 'x password: 'hunter2' b", "token: '***'***' b"),
        ("token=&quot;x password=  &quot;hunter2&quot; b", "token=&quot;***&quot;***&quot; b"),
    ],
)  # fmt: skip
def test_named_secrets_in_text(line: str, expected: str) -> None:
    """The value goes, whole, and nothing else."""
    assert expected == redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        *("", "nothing here", "password", "password is required", "Password must be long", "password: must be long"),
        *(
            "Unexpected token: }",
            "token expired",
            "token: null",
            "cookie=true",
            "password=",
            'password=""',
            "password=***",
        ),
        *(
            "password: [REDACTED]",
            "secret=<hidden>",
            "tokens: 512",
            "total_tokens=512",
            "max_tokens: 4,096",
            "pass: 12",
        ),
        *(
            "session: started",
            "dialysis session: 45 minutes",
            "session opened for root",
            "prior authorization: approved",
        ),
        *("Bad credentials: no such user", "Session: closed."),
        *("Bearer token is required", "Bearer realm=example", "the bearer of this letter", "Basic metabolic panel"),
        *(
            "a <password> b",
            "usage: login <user> <password>",
            "<tokens>512</tokens>",
            "x=1&y=2",
            "http://a:80/@b",
            "key=1",
        ),
        *(
            "GET /api/users/5/sessions",
            "GET /password/reset?x=1",
            "task-oriented-programming-is-fun",
            "eyJ is a prefix",
            "%41%4%41 100%50",
            *("%6_ %6[ %4^ %7` %63", "a %9[9 %63"),
            "Unexpected token '<', \"<!DOCTYPE\" is not valid JSON",
            "identified by name 'x'",
            'form-data; name="file"\r\n\r\nabc',
            "to=https%3A%2F%2Fh%3A80%2Fx%3Fm%3Da%40b",
        ),
        *(
            "docker run -u 1000:1000 -p 80:80 x",
            "curl -u bob https://h:1/",
            "curl/7.68.0 -u a:b",
            "mysql -P3306 -p -u root",
            "pin: blue, shipping: 12345",
            "auth: ldap, auth=https://sso.example/login/page1",
            "['Authorization', 'Content-Type']",
            "name: 'Cookie'; the value is",
        ),
    ],
)
def test_talk_about_secrets_is_left_alone(line: str) -> None:
    """Lines that hold none come back as they were."""
    assert line == redacted(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sent Bearer abc123def", "sent Bearer ***"),
        ("header: bearer abcdefgh", "header: bearer ***"),
        ("Bearer\tabc123def Basic\tZGI6aHVudGVy", "Bearer\t*** Basic\t***"),
        ("Bearer <abc123def> Bearer [abc123def]", "Bearer <***> Bearer [***]"),
        ("sent Basic dXNlcjpwYXNz ok", "sent Basic *** ok"),
        ("x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln y", "x *** y"),
        ("id_eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", "id_***"),
        ("key AKIAIOSFODNN7EXAMPLE gone", "key *** gone"),
        ("a\\nghp_0123456789abcdefghij", "a\\n***"),
        ("postgres://u:p@ss:w@db:5432/x", "postgres://u:***@db:5432/x"),
        ("redis://:secret@cache", "redis://:***@cache"),
        ("https:\\/\\/u:p@h\\/x", "https://u:***@h/x"),
        ("GET /x?a=1&sig=abcdefgh12345678", "GET /x?a=1&sig=***"),
        ("-----BEGIN RSA PRIVATE KEY----- abc -----END RSA PRIVATE KEY----- x", "*** x"),
        ("-----BEGIN PRIVATE KEY----- abc", "***"),
        ("to=https%3A%2F%2Fbob%3Aa%2Bb%40h%2Fx", "to=https%3A%2F%2Fbob%3A***%40h%2Fx"),
        ("CREATE USER u WITH PASSWORD 'a b'", "CREATE USER u WITH PASSWORD '***'"),
        ("alter role r password 'x'", "alter role r password '***'"),
        ("CREATE USER 'u'@'%' IDENTIFIED BY 'a b'", "CREATE USER 'u'@'%' IDENTIFIED BY '***'"),
        ("jdbc:oracle:thin:scott/a1@h:1521:x", "jdbc:oracle:thin:scott/***@h:1521:x"),
        ("curl -s -u bob:a1 https://h", "curl -s -u bob:*** https://h"),
        ("curl -u bob:a1 -o x -u bob:***", "curl -u bob:*** -o x -u bob:***"),
        ("curl --user 'bob:a1' https://h", "curl --user 'bob:***' https://h"),
        ('sh -c "mysql -uroot -pa1 db"', 'sh -c "mysql -uroot -p*** db"'),
        ("sshpass -p a1 ssh h; redis-cli -h h -a b1", "sshpass -p *** ssh h; redis-cli -h h -a ***"),
    ],
)
def test_secrets_by_their_looks(line: str, expected: str) -> None:
    """Tokens, keys and passwords in URLs need no name."""
    assert expected == redacted(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mail to bob.b+x@mail.example.com bounced", "mail to *** bounced"),
        ("<bob@müller.example>", "<***>"),
        ("?q=bob%40example.com&x", "?q=***&x"),
        ("bob [at] example [dot] com", "***"),
        ("call (555) 234-5678 now", "call *** now"),
        ("call +49 171 1234567.", "call ***."),
        ("tel:+33 1 12 23 08 25", "tel:***"),
        ("SSN 123456789", "SSN ***"),
        ("id 123-45-6789,", "id ***,"),
        ("MRN: 00123456", "MRN: ***"),
        ("MRN #A-123456 x", "MRN #*** x"),
        ("medical record number 123456", "medical record number ***"),
        ("NHS 943 476 5919", "NHS ***"),
        ("charged 4111 1111 1111 1111 ok", "charged *** ok"),
        ("pan=4111-1111-1111-1111", "pan=***"),
        ("to DE89 3704 0044 0532 0130 00, EUR 5", "to ***, EUR 5"),
        ("DOB: 12 March 1984", "DOB: ***"),
        ("born on 03/12/1984 in", "born on *** in"),
        ("D.O.B. 1984-03-12", "D.O.B. ***"),
        ("date of birth 12. März 1984", "date of birth ***"),
    ],
)
def test_what_identifies_people(line: str, expected: str) -> None:
    """The packs that can be switched on find it in the writings that people use."""
    assert expected == redacted(line, ALL)
    assert line == redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "icon@2x.png",
            "git@github.com:a/b.git",
            "lodash@4.17.21",
            "@nestjs/core",
            "a@b",
            "unit@1.service",
            "10:30:45",
        ),
        *(
            "2024-01-15T10:30:45+01:00",
            "192.168.1.100",
            "48.8566, +2.3522",
            "part 1234-56-789",
            "00123-4567",
            "555-1234",
        ),
        *("000-12-3456", "666-12-3456", "912-34-5678", "123-00-4567", "1-123-45-6789-0", "550 e8400"),
        *(
            "4111 1111 1111 1112",
            "4111111111111111234567",
            "1705314645123456",
            "9111 1111 1111 1111",
            "4111-1111 11111111",
        ),
        *(
            "DE88 3704 0044 0532 0130 00",
            "AB12CDEF",
            "born free",
            "airborne 2024-01-15",
            "updated 2024-01-15",
            "MRN missing",
        ),
    ],
)
def test_what_only_looks_so(line: str) -> None:
    """Wrong check digits, numbers that nobody was given, and pieces of something longer are left alone."""
    assert line == redacted(line, ALL)


def test_nhs_numbers_have_a_check_digit() -> None:
    """Ten digits whose sum is wrong are no NHS number."""
    rules = Rules(RedactSettings(packs=(Pack.NATIONAL_IDS,)), key=b"")
    assert "*** 943 476 5918" == redacted("943 476 5919 943 476 5918", rules)


def test_own_patterns() -> None:
    """They are found in texts as they are read, case counts, and anchors mean the text."""
    rules = Rules(RedactSettings(packs=(), patterns={"ward": r"\bW-\d{4}\b", "only": "^all of it$"}), key=b"")
    assert "bed in *** free, w-1234 too" == redacted("bed in W-1234 free, w-1234 too", rules)
    assert "***" == redacted("all of it", rules)
    assert '{"a":"***","b":"not all of it"}' == redacted('{"a":"all of it","b":"not all of it"}', rules)
    assert '{"a":"\\n***"}' == redacted('{"a":"\\nW-1234"}', rules)
    assert ("patterns.ward", "patterns.only") == rules.names


def test_a_text_that_is_full_of_own_matches_goes_whole() -> None:
    """Beyond a thousand matches a text is masked whole, so that the work stays linear."""
    rules = Rules(RedactSettings(packs=(), patterns={"x": "x"}), key=b"")
    assert "*** " * 999 + "***" == redacted("x " * 999 + "x", rules)
    assert "***" == redacted("x " * 1001, rules)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("from 192.168.1.100:8080", "from 192.168.1.0:8080"),
        ("[2001:db8:1:2::5]:443", "[2001:db8:1::]:443"),
        ("::ffff:10.1.2.3", "::ffff:10.1.2.0"),
        ("fe80::1%eth0", "fe80::%eth0"),
        ("1.2.3.4.5 v1.2.3.4 Chrome/120.0.6099.109 10.0.0.0", "1.2.3.4.5 v1.2.3.4 Chrome/120.0.6099.109 10.0.0.0"),
        ("10:30:45 aa:bb:cc:dd:ee:ff std::vector", "10:30:45 aa:bb:cc:dd:ee:ff std::vector"),
    ],
)
def test_addresses_become_networks(line: str, expected: str) -> None:
    """/24 of v4 and /48 of v6 are left; what is no address stays."""
    assert expected == redacted(line, Rules(RedactSettings(packs=(), ip="truncate"), key=b""))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("GET /api/patients/17/vitals?x=1", "GET /api/patients/***/vitals?x=1"),
        ("https://a.example/users/J%C3%B6rg", "https://a.example/users/***"),
        ("next=%2Fpatients%2F17%2Fvitals", "next=%2Fpatients%2F***%2Fvitals"),
        ("/patients /patients/ /impatients/3", "/patients /patients/ /impatients/3"),
    ],
)
def test_segments_of_paths(line: str, expected: str) -> None:
    """What stands after a named segment goes, up to the next slash."""
    assert expected == redacted(line, Rules(RedactSettings(packs=(), url_segments=("patients", "users")), key=b""))


def test_named_fields_are_url_parameters_too() -> None:
    """A field's rule covers the parameter of that name; dropping leaves the name."""
    fields = {"email": RedactAction.MASK, "mrn": RedactAction.DROP, "zip": RedactAction.TRUNCATE}
    rules = Rules(RedactSettings(packs=(), fields=fields), key=b"")
    assert "/x?email=***&mrn=***&zip=902***&y=1" == redacted("/x?email=a@b.cc&mrn=17&zip=9021055&y=1", rules)
    assert "email=a@b.cc in words" == redacted("email=a@b.cc in words", rules)
