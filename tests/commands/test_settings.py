"""Settings that cannot work are said at start, one line each, before anything is begun."""

import os

import pytest

from tests.processes import command_here

PROCESSES = ("up", "web", "worker", "watch")


@pytest.mark.parametrize("process", PROCESSES)
async def test_mail_and_thresholds_that_cannot_be_are_said_before_a_process_starts(process, tmp_path):
    place = tmp_path / "var"
    status, out, err = await command_here(
        process,
        data_dir=str(place),
        smtp_url="mail.example.com:587/secret",
        mail_from="nobody",
        watch_file=str(tmp_path / "none.toml"),
    )
    assert (status, out, place.exists()) == (2, "", False)
    assert [line.split(":")[1].strip() for line in err.splitlines()] == [
        "HOLDFAST_SMTP_URL",
        "HOLDFAST_MAIL_FROM",
        "HOLDFAST_WATCH_FILE",
    ]
    assert "secret" not in err


async def test_a_threshold_file_with_a_mistake_names_it(tmp_path):
    (tmp_path / "watch.toml").write_text("[watch]\ncloses_after = 'soon'\n")
    status, _, err = await command_here("up", watch_file=str(tmp_path / "watch.toml"))
    assert (status, err.count("\n")) == (2, 1)
    assert "[watch]" in err


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("postgresql://u:p@db.example/x?sslmode=foo", "`sslmode` parameter must be one of"),
        ("postgresql://u:p@db.example/x?target_session_attrs=some", "target_session_attrs"),
        ("postgresql://u:p@db.example/x?sslmode=require&sslcert=/nowhere/a.pem", "/nowhere/a.pem"),
        ("postgresql://u:p@db.example/x?port=here", "port=5432"),
        ("postgresql://u:hunter/2@db.example/x", "%2F for /"),
        ("postgresql://u:p?hunter@db.example/x", "%3F for ?"),
    ],
)
@pytest.mark.parametrize("arguments", [("up",), ("queue", "stats")])
async def test_a_database_address_that_can_never_work_is_a_mistake_and_no_server_that_is_away(address, said, arguments):
    status, _, err = await command_here(*arguments, database_url=address)
    assert (status, err.count("\n")) == (2, 1)
    assert err.startswith("settings: HOLDFAST_DATABASE_URL: ")
    assert said in err
    assert "hunter" not in err


@pytest.mark.parametrize("hosts", ["a.invalid:1,b.invalid:2/x", "/x?host=/nowhere,/nobody&port=1,2", "[::1]:1/x?a=b"])
async def test_addresses_of_several_hosts_are_fine_and_only_away(hosts):
    status, _, err = await command_here("queue", "stats", database_url=f"postgresql://{hosts}")
    assert (status, "cannot be reached" in err) == (1, True)


@pytest.mark.parametrize("name", ["two\nlines", os.fsdecode(b"latin-\xe9")])
@pytest.mark.parametrize("arguments", [("up",), ("queue", "stats")])
async def test_a_data_directory_whose_path_postgresql_could_not_write_down_is_refused(tmp_path, name, arguments):
    status, _, err = await command_here(*arguments, data_dir=f"{tmp_path}/{name}/var")
    assert (status, err.count("\n")) == (2, 1)
    assert "choose a directory with an ordinary name" in err
