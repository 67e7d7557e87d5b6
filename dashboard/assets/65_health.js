/* Every few seconds: does the server answer, does its store? A banner says when not, and goes by itself. */
window.FA = window.FA || {};

FA.health = {
  seconds: 4,

  async ask() {
    let state;
    try {
      const reply = await fetch("/_flowatlas/health", { cache: "no-store" });
      state = reply.ok ? await reply.json() : { ok: false, message: `The server answers with ${reply.status}.` };
    } catch (error) {
      state = { ok: false, message: "The server does not answer." };
    }
    FA.health.show(state);
    setTimeout(FA.health.ask, 1000 * FA.health.seconds);
  },

  show(state) {
    const banner = document.getElementById("fa-banner"), was = FA.health.last;
    banner.textContent = state.ok ? "" : `The database cannot be read. ${state.message} Trying again every ${FA.health.seconds} seconds.`;
    const back = was && !was.ok && state.ok, more = was && was.ok && state.ok && was.prompts !== state.prompts;
    if (back || more) dash_clientside.set_props("prompts-changed", { data: { prompts: state.prompts, at: Date.now() } });
    if (back) { FA.page.say("The database is back."); FA.view.asked = null; FA.view.apply({}); }
    FA.health.last = state;
  },
};
