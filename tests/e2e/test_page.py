"""The page by itself: what it loads, whether everybody can use it, and what it says in trouble."""

import signal

import pytest

pytestmark = pytest.mark.browser

NAMELESS = """() => [...document.querySelectorAll("button, input, select, textarea, a, img")]
  .filter((one) => !one.closest("[hidden]"))
  .filter((one) => !(one.labels?.length || one.ariaLabel || one.textContent.trim()
                     || one.hasAttribute("alt")))
  .map((one) => one.outerHTML)"""

# WCAG 2.2: relative luminance and contrast ratio of every text with what is painted behind it.
FAINT = """() => {
  const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (css) => {
    paper.clearRect(0, 0, 1, 1);
    paper.fillStyle = css;
    paper.fillRect(0, 0, 1, 1);
    return [...paper.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const linear = [r, g, b].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255];
  };
  const hasText = (one) => [...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
  return [...document.body.querySelectorAll("*")]
    .filter((one) => hasText(one) && one.checkVisibility() && !one.disabled)
    .map((one) => {
      const [a, b] = [rgb(getComputedStyle(one).color), behind(one)].map(luminance);
      return [one.id || one.tagName, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    })
    .filter(([, contrast]) => contrast < 4.5);
}"""


def test_the_page_is_whole_and_stays_at_home(open_page, stub_server):
    page = open_page(stub_server)
    page.page.wait_for_load_state("networkidle")
    page.start()
    page.await_phase("listening")
    assert page.troubles == []
    assert page.hosts == {f"127.0.0.1:{stub_server.port}"}


def test_everything_has_a_name_and_can_be_read(open_page, stub_server):
    page = open_page(stub_server)
    dom = page.page
    assert dom.evaluate(NAMELESS) == []
    assert dom.locator("html").get_attribute("lang") == "en"
    assert dom.get_by_role("heading", level=1).count() == 1
    for role in ("banner", "main", "log", "status", "alert"):
        assert dom.get_by_role(role).count() == 1, role
    page.write("Hello there.")
    page.turn("assistant", 1)
    assert dom.evaluate(FAINT) == []
    dom.get_by_role("button", name="Dark").click()
    assert dom.evaluate(FAINT) == []


def test_it_fits_a_phone(open_page, stub_server):
    page = open_page(stub_server)
    page.page.set_viewport_size({"width": 360, "height": 740})
    page.write("A word thatiswaytoolongforthewidthofthescreenofatelephoneandmustbebroken.")
    page.await_state(page.turn("assistant", 1), "done")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360
    for control in page.page.get_by_role("button").all():
        box = control.bounding_box()
        assert box["height"] >= 44, control.inner_text()


def test_the_keyboard_is_enough(open_page, stub_server):
    page = open_page(stub_server)
    for _ in range(8):
        page.page.keyboard.press("Tab")
        if page.page.evaluate("document.activeElement.id") == "call":
            break
    page.page.keyboard.press("Enter")
    page.await_phase("listening")
    page.page.keyboard.press("Enter")
    page.await_phase("idle")


def test_a_blocked_microphone_leaves_the_keyboard(open_page, stub_server):
    page = open_page(stub_server, is_allowed=False)
    page.start()
    alert = page.page.get_by_role("alert")
    alert.get_by_text("The microphone is blocked").wait_for()
    alert.get_by_role("button", name="Type instead").click()
    page.await_phase("listening")
    page.write("Are you there?")
    assert "Are you there?" in page.await_state(page.turn("assistant", 1), "done")


def test_a_full_server_says_so(open_page, stub_server):
    first = open_page(stub_server)
    refusal = {"error": {"message": "All sessions are taken."}}
    first.page.route("**/v1/realtime/calls*", lambda route: route.fulfill(status=429, json=refusal))
    first.start()
    alert = first.page.get_by_role("alert")
    alert.get_by_text("The server is busy").wait_for()
    first.page.unroute_all()
    alert.get_by_role("button", name="Try again").click()
    first.await_phase("listening")


def test_a_guarded_server_is_shown_the_key(open_page, stub_server):
    def guard(route):
        is_known = route.request.headers.get("authorization") == "Bearer sesame"
        route.fallback() if is_known else route.fulfill(status=401, json={})

    page = open_page(stub_server)
    page.page.route("**/v1/realtime/calls*", guard)
    page.start()
    page.page.get_by_role("alert").get_by_text("This server wants its key").wait_for()
    page.page.get_by_label("Key").fill("sesame")
    page.page.keyboard.press("Enter")
    page.await_phase("listening")


def test_it_comes_back_when_the_server_does(open_page, mortal_server):
    page = open_page(mortal_server)
    page.write("Remember the blue door.")
    page.await_state(page.turn("assistant", 1), "done")
    mortal_server.stop(signal.SIGKILL)
    page.page.get_by_role("button", name="Connect again").wait_for()
    mortal_server.start()
    page.page.get_by_role("button", name="Connect again").click()
    page.await_phase("listening")
    page.write("And now?")
    page.await_state(page.turn("assistant", 2), "done")
    assert page.page.locator("#transcript li").count() == 4
