import { createHash } from 'node:crypto';
import { runInNewContext } from 'node:vm';
import Fastify from 'fastify';
import { beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { addApprovalPage } from '../../src/transport/http/approval-page.ts';
import { anAsked, makeWorld, noticeOf, tokenOf } from '../notify/setup.ts';

const posted = z.object({
  method: z.string(),
  headers: z.record(z.string(), z.string()),
  body: z.string().transform((text): unknown => JSON.parse(text)),
  credentials: z.string(),
  redirect: z.string(),
  referrerPolicy: z.string(),
});

let html: string;
let policy: Map<string, string>;
let headers: Record<string, unknown>;

const inner = (tag: string): string => new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`).exec(html)?.[1] ?? '';
const sha256 = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

beforeAll(async () => {
  const app = Fastify();
  addApprovalPage(app);
  const answer = await app.inject({ method: 'GET', url: '/approval?token=x' });
  expect(answer.statusCode).toBe(200);
  html = answer.body;
  headers = answer.headers;
  policy = new Map(
    String(headers['content-security-policy'])
      .split('; ')
      .map((directive) => directive.split(/ (.*)/) as [string, string]),
  );
});

describe('the page', () => {
  test('may do nothing but what it needs', () => {
    expect([...policy]).toEqual([
      ['default-src', "'none'"],
      ['script-src', sha256(inner('script'))],
      ['style-src', sha256(inner('style'))],
      ['connect-src', "'self'"],
      ['frame-ancestors', "'none'"],
      ['base-uri', "'none'"],
      ['form-action', "'none'"],
    ]);
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'referrer-policy': 'no-referrer',
      'x-frame-options': 'DENY',
      'cross-origin-opener-policy': 'same-origin',
    });
  });

  test('has one script and one style, and refers to nothing else', () => {
    expect(html.match(/<script/g)).toHaveLength(1);
    expect(html.match(/<style/g)).toHaveLength(1);
    expect(html).not.toMatch(
      /https?:|\/\/\w|\b(?:src|href|action|style|on\w+)=|@import|url\(|<(?:link|img|iframe|form|base)\b/i,
    );
  });

  test('never makes markup or code of what it shows', () => {
    expect(inner('script')).not.toMatch(/innerHTML|outerHTML|insertAdjacent|document\.write|eval|Function\(|setAttribute/);
  });

  test('is the same for everybody, and there is no other way to ask for it', async () => {
    const app = Fastify();
    addApprovalPage(app);
    expect((await app.inject({ method: 'GET', url: '/approval' })).body).toBe(html);
    expect((await app.inject({ method: 'POST', url: '/approval', payload: {} })).statusCode).toBe(404);
  });
});

class FakeElement {
  textContent = '';
  hidden = false;
  disabled = false;
  value = '';
  readonly children: FakeElement[] = [];
  #onClick: (() => Promise<void>) | null = null;

  append(...children: FakeElement[]): void {
    this.children.push(...children);
  }

  addEventListener(type: string, listener: () => Promise<void>): void {
    if (type === 'click') this.#onClick = listener;
  }

  async click(): Promise<void> {
    if (!this.disabled) await this.#onClick?.();
  }
}

interface FakeAnswer {
  ok: boolean;
  status: number;
  json: () => Promise<unknown>;
}

const answering = (status: number, body: unknown) => (): Promise<FakeAnswer> =>
  Promise.resolve({ ok: status < 400, status, json: () => Promise.resolve(body) });

/** Opens the page at an address, with as much of a browser as its script uses. */
function openPage(fragment: string, answer: () => Promise<FakeAnswer> = answering(200, { state: 'issued' })) {
  const elements = new Map<string, FakeElement>();
  for (const [, id = '', rest = ''] of html.matchAll(/id="(\w+)"([^>]*)/g)) {
    const element = new FakeElement();
    element.hidden = rest.includes('hidden');
    elements.set(id, element);
  }
  const requests: { path: string; options: z.infer<typeof posted> }[] = [];
  const addresses: string[] = [];
  const get = (id: string) => elements.get(id)!;
  runInNewContext(inner('script'), {
    document: { getElementById: get, createElement: () => new FakeElement() },
    location: { hash: fragment, pathname: '/broker/approval' },
    history: { replaceState: (_state: unknown, _title: string, path: string) => addresses.push(path) },
    fetch: (path: string, options: unknown) => {
      requests.push({ path, options: posted.parse(options) });
      return answer();
    },
    ...{ atob, TextDecoder, Uint8Array },
  });
  const rows = () => {
    const cells = get('asked').children.map(({ textContent }) => textContent);
    return Object.fromEntries(cells.flatMap((cell, index) => (index % 2 === 0 ? [[cell, cells[index + 1]]] : [])));
  };
  return { get, requests, addresses, rows };
}

const REASON = '<img src=x onerror=alert(1)> "quoted" & déjà vu 🚀';

async function links() {
  const world = await makeWorld();
  const asked = anAsked(world.clock.now(), { grant: { reason: REASON } });
  const signed = await world.links(noticeOf(asked, 'hook'));
  return { asked, approve: tokenOf(signed!.approve), deny: tokenOf(signed!.deny) };
}

describe('its script', () => {
  test('shows what the token says, as text, and sends nothing by itself', async () => {
    const { asked, approve } = await links();
    const page = openPage(`#${approve}`);
    expect(page.rows()).toMatchObject({
      Tenant: 't_acme',
      Agent: 'agent_pr_reviewer',
      Run: 'run_1',
      Session: asked.session.id,
      Workload: 'system:serviceaccount:agents:reviewer',
      Tool: 'github',
      Capability: 'repo.read',
      Resource: 'github:repo:acme/widgets',
      Delivery: 'proxy',
      'Lasts (seconds)': '600',
      'Reason, in the words of the agent': REASON,
      'Approvers needed': '1',
      Approval: asked.approval.id,
      'Request hash': asked.approval.requestHash,
      Expires: '2026-01-02T03:09:05.000Z',
    });
    expect(page.get('form').hidden).toBe(false);
    expect(page.get('decide').textContent).toBe('Approve');
    expect(page.requests).toEqual([]);
  });

  test('takes the token out of the address bar', async () => {
    const { approve } = await links();
    expect(openPage(`#${approve}`).addresses).toEqual(['/broker/approval']);
  });

  test.each(['approve', 'deny'] as const)(
    'sends the token of %s with the comment when the button is pressed',
    async (decision) => {
      const { asked, ...tokens } = await links();
      const page = openPage(`#${tokens[decision]}`, answering(200, { state: decision === 'deny' ? 'denied' : 'issued' }));
      page.get('comment').value = 'because';
      await page.get('decide').click();
      expect(page.requests).toEqual([
        {
          path: `v1/approvals/${asked.approval.id}:callback`,
          options: {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: { assertion: tokens[decision], comment: 'because' },
            credentials: 'omit',
            redirect: 'error',
            referrerPolicy: 'no-referrer',
          },
        },
      ]);
      expect(page.get('outcome').textContent).toBe(decision === 'deny' ? 'Denied.' : 'Approved.');
      expect(page.get('form').hidden).toBe(true);
    },
  );

  test.each([
    [
      'is final',
      answering(409, { error: 'approval is already denied' }),
      'Nothing was decided: approval is already denied',
      true,
    ],
    ['passes', answering(503, { error: 'try again' }), 'Nothing was decided: try again', false],
    ['asks for patience', answering(429, { error: 'slow down' }), 'Nothing was decided: slow down', false],
    ['is no JSON', () => Promise.reject(new TypeError('failed')), 'The broker could not be reached. Try again.', false],
  ])('tells of a refusal that %s', async (_name, answer, told, isOver) => {
    const { approve } = await links();
    const page = openPage(`#${approve}`, answer);
    await page.get('decide').click();
    expect(page.get('outcome').textContent).toBe(told);
    expect(page.get('decide').disabled).toBe(isOver);
  });

  test.each([
    ['nothing', ''],
    ['no token', '#x'],
    ['no JSON', '#a.YWJj.c'],
    ['JSON that is no object', '#a.bnVsbA.c'],
    [
      'a decision it does not know',
      `#a.${Buffer.from('{"decision":"toString","approval_id":"a","asked":{}}').toString('base64url')}.c`,
    ],
    ['no request', `#a.${Buffer.from('{"decision":"approve","approval_id":"a","asked":null}').toString('base64url')}.c`],
  ])('offers nothing when there is %s behind the #', (_name, fragment) => {
    const page = openPage(fragment);
    expect(page.get('outcome').textContent).toMatch(/^This is not a complete approval link/);
    expect(page.get('form').hidden).toBe(true);
    expect(page.get('asked').children).toEqual([]);
  });

  test('stays on its own path, whatever id a token names', async () => {
    const claims = { decision: 'approve', approval_id: '../../grants/x?y#z', asked: {}, exp: 0 };
    const page = openPage(`#a.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.c`);
    await page.get('decide').click();
    expect(page.requests[0]?.path).toBe('v1/approvals/..%2F..%2Fgrants%2Fx%3Fy%23z:callback');
  });
});
