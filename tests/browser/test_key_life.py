"""The life of a key as people at the screen see it: on every page, in two tabs, after a double click, when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visit import Served, Visit, served
from tests.upstream import (
    CLAUDE_KEY,
    CLAUDE_OTHER_KEY,
    CLAUDE_WRONG_KEY,
    GEMINI_KEY,
    GEMINI_OTHER_KEY,
    GEMINI_WRONG_KEY,
    GOOD_KEY,
    REPLY,
    WRONG_KEY,
    ScriptedUpstream,
)


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for this file, with a platform key; each test has projects and keys of its own."""
    with served(tmp_path_factory.mktemp("dashboard")) as running:
        yield running


@pytest.fixture
def empty_dashboard(tmp_path: Path) -> Iterator[Served]:
    """A server on a machine where nothing was done yet, without a platform key."""
    with served(tmp_path, platform_key=None) as running:
        yield running


@pytest.fixture
def upstream(dashboard: Served) -> ScriptedUpstream:
    """The provider that ``dashboard`` asks."""
    return dashboard.upstream


@pytest.fixture
def visit(dashboard: Served, page: Page) -> Visit:
    """A person at ``dashboard``."""
    return Visit(page, dashboard.address)


def enter(visit: Visit, key: str) -> Visit:
    """Type a key into the open dialog and send it."""
    return visit.fill("New OpenAI API key", key).press("Check and save")


def project(dashboard: Served, slug: str, key: str | None = None) -> str:
    """A project, on a key of its own if one is given."""
    dashboard.platform.projects.add(slug, actor=dashboard.platform.actor)
    if key:
        dashboard.upstream.keys[key] = "good"
        dashboard.platform.keys.save(slug, key)
    return slug


def test_from_an_empty_machine_to_a_key_in_use(empty_dashboard: Served, page: Page):
    """Create a project, add a key, send a test call; then every page tells of it, and nothing holds the key."""
    visit = Visit(page, empty_dashboard.address).open()
    visit.sees("No project yet").press("Create a project").fill("Short name", "checkout-api")
    visit.press("Create project").closed()

    visit.follow("Integrations").sees(
        "Platform-funded", "What bringing your own key changes", "Google API key"
    )
    visit.press("Add your key")
    enter(visit, WRONG_KEY).sees("OpenAI rejected this key", "Incorrect API key provided", "401")
    visit.sees("Nothing was saved")
    assert empty_dashboard.platform.keys.describe("checkout-api").status == "none"
    enter(visit, f" {GOOD_KEY}\n").closed().sees("Your key", "Untested", "•••• 0001", "by you")

    visit.press("Send a test call").press("Send").sees("Hello from the scripted upstream", "BYOK •••• 0001")
    visit.sees("12 input, 5 output").press("Close").closed().sees("Active")

    [run], total = empty_dashboard.platform.runs.list(_all(), actor=empty_dashboard.platform.actor)
    assert (total, run.status, run.source, run.last4) == (1, "passed", "byok", "0001")
    visit.open("run_logs", run=run.run_id).sees(f"Run {run.run_id}", "Passed", "BYOK •••• 0001")
    visit.open("usage").sees("1 call.", "Spend per day by source, USD", "Days", "Export")
    visit.open().sees("Spend overview", "Spend per day, USD", "Projects")

    said = b"".join(visit.received) + page.content().encode() + empty_dashboard.log.read_bytes()
    assert b"checkout-api" in said
    assert GOOD_KEY.encode() not in said
    assert WRONG_KEY.encode() not in said
    assert visit.elsewhere == set()


def _all():
    from lib.runs.log import RunFilter

    return RunFilter()


def test_the_key_field_is_empty_after_a_refusal_and_the_browser_sends_the_key_no_more(
    dashboard: Served, visit: Visit
):
    """What was typed is gone on both sides, so a later rerun cannot bring it back."""
    sent: list[bytes] = []
    visit.page.on(
        "websocket",
        lambda socket: socket.on(
            "framesent", lambda data: sent.append(data if isinstance(data, bytes) else data.encode())
        ),
    )
    visit.open("integrations", project=project(dashboard, "clean-sides")).press("Add your key")
    enter(visit, "sk-test-nobody-knows-this-0042").sees("OpenAI rejected this key")
    expect(visit.page.get_by_label("New OpenAI API key", exact=True)).to_have_value("")
    assert any(b"sk-test-nobody-knows-this-0042" in frame for frame in sent)
    sent.clear()
    visit.press("Cancel").closed()
    visit.follow("Usage").follow("Integrations")
    assert not any(b"sk-test-nobody-knows-this-0042" in frame for frame in sent)


def test_what_could_not_be_checked_can_be_tried_again_without_pasting(
    dashboard: Served, visit: Visit, upstream: ScriptedUpstream
):
    slug, key = project(dashboard, "try-again"), "sk-test-try-again-0077"
    upstream.keys[key] = "server_error"
    visit.open("integrations", project=slug).press("Add your key")
    enter(visit, key).sees("Could not check the key", "Nothing was saved")
    assert dashboard.platform.keys.describe(slug).status == "none"
    upstream.keys[key] = "good"
    visit.press("Try again").closed().sees("•••• 0077")
    assert dashboard.platform.keys.describe(slug).status == "working"


def test_a_rejected_replacement_leaves_the_key_in_use(dashboard: Served, visit: Visit):
    slug = project(dashboard, "keeps-old", "sk-test-keeps-old-1111")
    visit.open("integrations", project=slug).sees("•••• 1111").press("Replace")
    enter(visit, WRONG_KEY).sees("OpenAI rejected this key", "stays in use")
    visit.press("Cancel").closed().sees("•••• 1111")
    assert dashboard.platform.keys.describe(slug).last4 == "1111"


@pytest.mark.parametrize(
    "typed",
    [
        "not a key",
        "sk-ant-api03-other-company-000000",
        "\N{FULLWIDTH LATIN SMALL LETTER S}k-test-wide-letters-0001",
    ],
)
def test_what_cannot_be_a_key_is_told_without_repeating_it(dashboard: Served, visit: Visit, typed: str):
    slug = f"malformed-{abs(hash(typed)) % 10_000}"
    visit.open("integrations", project=project(dashboard, slug)).press("Add your key")
    enter(visit, typed).sees("This cannot be an OpenAI key")
    assert typed not in visit.dialog.inner_text()


def test_a_double_click_saves_once(dashboard: Served, visit: Visit, upstream: ScriptedUpstream):
    slug, key = project(dashboard, "double-click"), "sk-test-double-click-0022"
    upstream.keys[key] = "good"
    visit.open("integrations", project=slug).press("Add your key")
    visit.fill("New OpenAI API key", key)
    visit.button("Check and save").dblclick()
    visit.closed().sees("•••• 0022")
    assert dashboard.platform.keys.describe(slug).version == 1


def test_of_two_tabs_one_replaces_and_the_other_is_told(dashboard: Served, visit: Visit):
    slug = project(dashboard, "two-tabs", "sk-test-two-tabs-0001")
    dashboard.upstream.keys["sk-test-two-tabs-0002"] = "good"
    dashboard.upstream.keys["sk-test-two-tabs-0003"] = "good"
    first = visit.open("integrations", project=slug).press("Replace")
    second = Visit(visit.page.context.new_page(), dashboard.address)
    second.open("integrations", project=slug).press("Replace")
    enter(first, "sk-test-two-tabs-0002").closed().sees("•••• 0002")
    enter(second, "sk-test-two-tabs-0003").sees("The key was not saved")
    assert dashboard.platform.keys.describe(slug).last4 == "0002"


def test_removing_says_what_follows_and_asks_first(dashboard: Served, visit: Visit):
    slug = project(dashboard, "removes", "sk-test-removes-5555")
    visit.open("integrations", project=slug).press("Remove").sees("platform-funded", "caps")
    visit.press("Cancel").closed()
    assert dashboard.platform.keys.describe(slug).version == 1
    visit.press("Remove").press("Remove the key").closed().sees("Platform-funded", "Add your key")
    assert dashboard.platform.keys.describe(slug).status == "none"


def test_a_key_revoked_upstream_is_failing_on_every_page(
    dashboard: Served, visit: Visit, upstream: ScriptedUpstream
):
    """The run log has the provider's words, code and request id; nothing is spent on the platform key."""
    slug, key = (
        project(dashboard, "revoked-later", "sk-test-revoked-later-9999"),
        "sk-test-revoked-later-9999",
    )
    upstream.keys[key] = "revoked"
    visit.open("integrations", project=slug).press("Send a test call").press("Send").sees("invalid_api_key")
    visit.press("Close").closed().sees("Failing", "Key failing")
    visit.open("run_logs", project=slug)
    [run], _ = dashboard.platform.runs.list(_of(slug), actor=dashboard.platform.actor)
    visit.open("run_logs", project=slug, run=run.run_id)
    visit.sees("OpenAI refused the key •••• 9999", "Provider error", "invalid_api_key", "req_")
    visit.sees("Nothing was spent on the platform key")
    visit.open().sees("Key failing", slug)
    upstream.keys[key] = "good"
    visit.open("integrations", project=slug).press("Check again").sees("Untested")
    assert dashboard.platform.keys.describe(slug).status == "working"


def _of(slug: str):
    from lib.runs.log import RunFilter

    return RunFilter(projects=(slug,))


def test_the_failure_policy_is_the_projects_choice(
    dashboard: Served, visit: Visit, upstream: ScriptedUpstream
):
    slug = project(dashboard, "chooses", "sk-test-chooses-4444")
    visit.open("integrations", project=slug)
    visit.page.get_by_text("Fall back to the platform key").first.click()
    visit.sees("Set to fall back by you")
    assert dashboard.platform.projects.get(slug, actor=dashboard.platform.actor).on_key_failure == "platform"
    upstream.keys["sk-test-chooses-4444"] = "revoked"
    visit.press("Send a test call").press("Send").sees("Hello from the scripted upstream", "Qodex pays")


def test_links_to_the_provider_open_its_own_pages(dashboard: Served, visit: Visit):
    """BYOK spend is controlled there."""
    visit.open("integrations", project=project(dashboard, "links", "sk-test-links-key-3333")).sees(
        "At OpenAI"
    )
    links = visit.page.locator("a[href^='https://platform.openai.com']")
    assert [link.get_attribute("href") for link in links.all()][:2] == [
        "https://platform.openai.com/usage",
        "https://platform.openai.com/settings/organization/limits",
    ]


def test_the_days_can_be_taken_as_csv(dashboard: Served, visit: Visit):
    slug = project(dashboard, "exports-days")
    dashboard.platform.test_call(slug, "gpt-5-mini", "Hi")
    visit.open("usage", project=slug)
    download = visit.choose_days().download("Download CSV directly")
    lines = download.path().read_text().splitlines()
    assert download.suggested_filename.startswith(f"qodex-usage_{slug}_")
    assert lines[0].startswith("date,project,source,provider,model,calls")
    assert [line.split(",")[1:6] for line in lines[1:]] == [[slug, "platform", "openai", "gpt-5-mini", "1"]]


def test_no_page_asks_another_machine_for_anything(dashboard: Served, visit: Visit):
    """Fonts, icons and charts are ours, whatever a model or a provider is called."""
    slug = project(dashboard, "inert")
    dashboard.upstream.reply("![x](https://evil.example/a.png) <img src=https://evil.example/b.png>")
    dashboard.platform.test_call(slug, "gpt-5-mini", "Hi")
    for path in ("", "run_logs", "integrations", "usage"):
        visit.open(path, project=slug)
    visit.open("integrations", project=slug).press("Send a test call").press("Send").sees("evil.example")
    assert visit.elsewhere == set()


@pytest.mark.parametrize(
    ("name", "title", "keys", "refusal", "path"),
    [
        (
            "anthropic",
            "Anthropic",
            (CLAUDE_WRONG_KEY, CLAUDE_KEY, CLAUDE_OTHER_KEY),
            "invalid x-api-key",
            "/messages",
        ),
        (
            "google",
            "Google",
            (GEMINI_WRONG_KEY, GEMINI_KEY, GEMINI_OTHER_KEY),
            "API key not valid",
            "/models/gemini-3.5-flash-lite:generateContent",
        ),
    ],
)
def test_a_key_of_another_provider_is_added_replaced_and_removed_beside_one_of_openai(
    dashboard: Served,
    visit: Visit,
    upstream: ScriptedUpstream,
    name: str,
    title: str,
    keys: tuple[str, str, str],
    refusal: str,
    path: str,
):
    slug = project(dashboard, f"two-with-{name}", GOOD_KEY)
    upstream.reply(REPLY)  # the tests of this file share it
    visit.provider, field, (wrong, key, other) = name, f"New {title} API key", keys
    visit.open("integrations", project=slug).sees("OpenAI bills the calls", f"Nobody pays for {title} calls")
    visit.press("Add your key").fill(field, wrong).press("Check and save")
    visit.sees(f"{title} rejected this key", refusal)
    visit.fill(field, key).press("Check and save").closed()
    visit.sees(f"{title} bills the calls of {slug} to your account", "Untested")
    visit.press("Send a test call").press("Send").sees("Hello from the scripted upstream", f"{title} bills")
    assert (upstream.requests[-1].path, upstream.requests[-1].key) == (path, key)
    visit.press("Close").closed().press("Replace").fill(field, other)
    visit.press("Check and save").closed().sees("•••• 0002", "•••• 0001")
    visit.open("").sees("Spend overview")
    visit.open("integrations", project=slug).press("Remove").sees(f"Remove the {title} API key?")
    visit.press("Remove the key").closed().sees(f"Nobody pays for {title} calls", "OpenAI bills the calls")
    assert dashboard.platform.keys.describe(slug).last4 == GOOD_KEY[-4:]
    for typed in (key, other):
        assert not [frame for frame in visit.received if typed[7:-4].encode() in frame]
