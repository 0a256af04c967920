"""Paths and URLs: which is which, how URLs are joined, what is said where nobody answers."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from mim3d.data import place
from mim3d.data.place import Url, folder_of, name_at, place_of
from mim3d.errors import StoreError, UnreachableError


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("store", Path("store")),
        (Path("a/store"), Path("a/store")),
        ("file:///data/my%20store", Path("/data/my store")),
        ("file://localhost/data/store", Path("/data/store")),
        ("s3://bucket/a/store/", Url("s3://bucket/a/store")),
        ("S3://Bucket/Store", Url("s3://Bucket/Store")),
        ("gcs://bucket/store", Url("gs://bucket/store")),
        (Url("https://host/store"), Url("https://host/store")),
    ],
)
def test_what_is_said_is_a_folder_or_a_url(said: Path | Url | str, found: Path | Url) -> None:
    assert place_of(said) == found


def test_a_url_that_was_made_into_a_path_is_refused() -> None:
    with pytest.raises(
        StoreError, match="s3:/bucket/store: a URL that was made into a Path, which spoils it"
    ):
        place_of(Path("s3://bucket/store"))


@pytest.mark.parametrize("url", ["https://me:word@host/store", "https://host/store?Signature=word"])
def test_a_url_with_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match=r"https://\.\.\.: a URL with a user, a password or a sig") as caught:
        place_of(url)
    assert "word" not in str(caught.value).replace("password", "")


def test_a_store_is_not_prepared_at_a_url() -> None:
    assert folder_of("store") == Path("store")
    with pytest.raises(StoreError, match=r"then `mim3d copy FOLDER s3://b/store` brings it there"):
        folder_of("s3://b/store")


def test_urls_are_joined_as_paths_are() -> None:
    assert Url("s3://bucket") / "a b%" / "c" == Url("s3://bucket/a b%/c")
    assert (Url("s3://bucket/mixtures/one.json").parent / "../store").text == "s3://bucket/store"
    web = Url("https://host/a") / "b c%"
    assert (web.text, web.name, web.parent) == ("https://host/a/b%20c%25", "b c%", Url("https://host/a"))


def test_a_store_has_a_name_even_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert name_at(Path()) == tmp_path.name
    assert name_at(Url("s3://bucket/store")) == "store"


def test_files_come_and_go(memory: str, tmp_path: Path) -> None:
    url, file = Url(memory) / "a" / "b", tmp_path / "file"
    assert not url.is_file()
    url.write_bytes(b"one")
    assert (url.is_file(), url.read_text()) == (True, "one")
    file.write_bytes(b"two")
    url.take(file)
    assert url.read_bytes() == b"two"
    url.unlink()
    url.unlink()
    assert not url.is_file()
    with pytest.raises(FileNotFoundError):
        url.read_bytes()


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 25])
def test_large_files_come_in_pieces(
    size: int, serve: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "PIECE", 10)
    content = bytes(range(size))
    (tmp_path / "a b").write_bytes(content)
    url = Url(serve(tmp_path).url) / "a b"
    pieces = list(url.pieces())
    assert b"".join(pieces) == content
    assert max(map(len, pieces)) <= 10


def test_a_busy_server_is_asked_again(
    serve: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "PAUSES", (0.0, 0.0))
    (tmp_path / "file").write_bytes(b"x")
    web = serve(tmp_path)
    url = Url(web.url) / "file"
    web.busy = 2
    assert url.read_bytes() == b"x"
    web.busy = 3
    with pytest.raises(UnreachableError, match=r"/file: cannot be reached \(ClientResponseError: 503"):
        url.is_file()
    assert web.asked == ["file"] * 6


def test_what_nobody_may_see_is_not_what_is_missing(
    serve: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, "PAUSES", (0.0,))
    web = serve(tmp_path)
    web.refused = "secret"
    assert not (Url(web.url) / "missing").is_file()
    with pytest.raises(
        UnreachableError, match=r"403.*; look to the address, the network and your credential"
    ):
        (Url(web.url) / "secret").is_file()


def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = Url(f"http://127.0.0.1:{silent.getsockname()[1]}/file")
        with pytest.raises(UnreachableError, match=r"cannot be reached \(no answer in 0.2 s\)"):
            url._ask("cat_file", url.text, seconds=0.2)


def test_nobody_there_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "PAUSES", ())
    with pytest.raises(UnreachableError, match=r"cannot be reached .*Cannot connect to host") as caught:
        Url("http://127.0.0.1:1/store").read_bytes()
    assert "\n" not in str(caught.value)


def test_what_has_to_be_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(scheme: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", lacking)
    place._filesystem.cache_clear()
    with pytest.raises(
        UnreachableError, match=r"s3://b/x: nothing is installed .*; pip install 'mim3d\[s3\]'"
    ):
        Url("s3://b/x").is_file()
    with pytest.raises(UnreachableError, match=r"; name s3://, gs://, https:// or a folder"):
        Url("odd://b/x").is_file()
    place._filesystem.cache_clear()


def test_a_bucket_that_is_not_there_cannot_be_written(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*_: object) -> None:
        raise FileNotFoundError("The specified bucket does not exist")

    monkeypatch.setattr(place, "_call", lambda *_, **__: missing())
    with pytest.raises(UnreachableError, match="FileNotFoundError: The specified bucket does not exist"):
        Url(memory).write_bytes(b"")
