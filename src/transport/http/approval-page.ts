import { hash } from 'node:crypto';
import type { FastifyInstance } from 'fastify';

const STYLE = `
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; }
dt { font-weight: 600; }
dd { margin: 0; font-family: ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; direction: ltr; unicode-bidi: isolate; }
label { display: block; margin: 1rem 0; }
textarea { display: block; width: 100%; box-sizing: border-box; font: inherit; }
button { font: inherit; padding: .5rem 2rem; }
`;

/**
 * Shows what the token behind the `#` says and sends it when the person presses the button, never before. Whatever the token
 * holds becomes text, never markup; whether it is genuine is for the broker to say.
 */
const SCRIPT = `
'use strict';
const LABELS = {
  agent_id: 'Agent', run_id: 'Run', session_id: 'Session', workload: 'Workload', tool: 'Tool', capability: 'Capability',
  resource_ref: 'Resource', delivery_mode: 'Delivery', ttl_seconds: 'Lasts (seconds)', reason: 'Reason, in the words of the agent',
  required_approvers: 'Approvers needed',
  reuse: 'Answers it again',
};
const WORDS = { approve: 'Approve', deny: 'Deny' };
const OUTCOMES = {
  pending: 'Your yes is on record. Others must approve as well.',
  approved: 'Approved.', issued: 'Approved.', delivered: 'Approved.', used: 'Approved.',
  denied: 'Denied.',
};
const element = (id) => document.getElementById(id);
const say = (text) => { element('outcome').textContent = text; };

function read(token) {
  try {
    const base64 = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0))));
    const complete = Object.hasOwn(WORDS, claims.decision) && typeof claims.approval_id === 'string' &&
      typeof claims.asked === 'object' && claims.asked !== null;
    return complete ? claims : null;
  } catch {
    return null;
  }
}

function row(label, value) {
  const term = document.createElement('dt');
  const description = document.createElement('dd');
  term.textContent = label;
  description.textContent = String(value);
  element('asked').append(term, description);
}

function show(claims) {
  row('Tenant', claims.tenant_id);
  for (const [name, label] of Object.entries(LABELS)) row(label, claims.asked[name]);
  row('Approval', claims.approval_id);
  row('Request hash', claims.request_hash);
  row('Expires', new Date(claims.exp * 1000).toISOString());
  element('decide').textContent = WORDS[claims.decision];
  element('form').hidden = false;
}

async function send(token, claims) {
  const button = element('decide');
  button.disabled = true;
  say('Sending…');
  try {
    const answer = await fetch('v1/approvals/' + encodeURIComponent(claims.approval_id) + ':callback', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ assertion: token, comment: element('comment').value }),
      cache: 'no-store', credentials: 'omit', redirect: 'error', referrerPolicy: 'no-referrer',
    });
    const body = await answer.json();
    if (answer.ok) {
      element('form').hidden = true;
      say(OUTCOMES[body.state] ?? 'Done.');
      return;
    }
    say('Nothing was decided: ' + body.error);
    button.disabled = answer.status < 500 && answer.status !== 429;
  } catch {
    say('The broker could not be reached. Try again.');
    button.disabled = false;
  }
}

const token = location.hash.slice(1);
// Out of the address bar and the history, where it would outlive its use.
history.replaceState(null, '', location.pathname);
const claims = read(token);
if (claims === null) {
  say('This is not a complete approval link. Open the one that was sent to you; reloading loses it.');
} else {
  show(claims);
  element('decide').addEventListener('click', () => send(token, claims));
}
`;

const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>ASB approval</title>
<style>${STYLE}</style>
<h1>An agent asks for access</h1>
<dl id="asked"></dl>
<div id="form" hidden>
<label>Comment; the agent gets to read why you say no <textarea id="comment" maxlength="1000" rows="3"></textarea></label>
<button id="decide" type="button"></button>
</div>
<p id="outcome" role="status"></p>
<noscript><p>This page needs JavaScript; an operator token decides without it.</p></noscript>
<script>${SCRIPT}</script>
</html>
`;

/** As Content Security Policy Level 3 section 2.3.1 names an inline script or style. */
const sourceOf = (text: string): string => `'sha256-${hash('sha256', text, 'base64')}'`;

const POLICY = [
  "default-src 'none'",
  `script-src ${sourceOf(SCRIPT)}`,
  `style-src ${sourceOf(STYLE)}`,
  "connect-src 'self'",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join('; ');

const HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'content-security-policy': POLICY,
  'referrer-policy': 'no-referrer',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
};

/**
 * The page that one-time links lead to: the same for everybody, and it loads nothing else. It decides nothing; its script posts
 * to `/v1/approvals/{approval_id}:callback`.
 */
export function addApprovalPage(app: FastifyInstance): void {
  app.get('/approval', { config: { quiet: true } }, (_request, reply) => reply.headers(HEADERS).send(PAGE));
}
