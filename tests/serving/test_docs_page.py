"""The page that describes the API needs nothing but this server."""

import re


def test_the_page_names_no_address_outside_the_server(shared):
    page = shared.get("/docs")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}", page.text)


def test_every_asset_of_the_page_comes_from_the_server(shared):
    assets = re.findall(r'(?:src|href)="([^"]+)"', shared.get("/docs").text)
    assert {asset.rpartition(".")[2] for asset in assets} >= {"css", "js"}
    for asset in assets:
        assert asset.startswith("/")
        response = shared.get(asset)
        assert response.status_code == 200
        assert response.content


def test_the_styles_load_nothing_from_outside(shared):
    (sheet,) = re.findall(r'href="([^"]+\.css)"', shared.get("/docs").text)
    assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", shared.get(sheet).text)


def test_the_page_shows_the_servers_own_description(shared):
    (url,) = re.findall(r"url: '([^']+)'", shared.get("/docs").text)
    assert shared.get(url).json()["info"]["title"] == "Salvage outcomes"
