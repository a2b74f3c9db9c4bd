import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { makePost } from '../../src/notify/post.ts';
import { makeSlackNotifier } from '../../src/notify/slack.ts';
import { startReceiver, type TestReceiver } from '../support/receiver.ts';
import { anAsked, type AskChanges, aSlack, makeWorld, noticeOf, type World } from './setup.ts';

const text = z.object({ type: z.string(), text: z.string() });
const button = z.object({ type: z.literal('button'), text, url: z.url() });
const block = z.discriminatedUnion('type', [
  z.object({ type: z.literal('section'), text, fields: z.array(text).optional() }),
  z.object({ type: z.literal('context'), elements: z.array(text) }),
  z.object({ type: z.literal('actions'), elements: z.array(button) }),
]);
const slackMessage = z.object({ text: z.string(), unfurl_links: z.literal(false), blocks: z.array(block) });

let slack: TestReceiver;
let world: World;

beforeEach(async () => {
  slack = await startReceiver('/services/T/B/x');
  world = await makeWorld(aSlack({ url: slack.url }));
});

afterEach(() => slack.close());

async function messageFor(changes: AskChanges = {}) {
  await world.ask(changes);
  await world.send();
  return slackMessage.parse(JSON.parse(slack.received.at(-1)!.body));
}

/** Every text of a message that Slack would format. */
const textsOf = ({ text: summary, blocks }: z.infer<typeof slackMessage>): string[] => [
  summary,
  ...blocks.flatMap((one) => {
    if (one.type === 'section') return [one.text, ...(one.fields ?? [])].map((each) => each.text);
    return one.type === 'context' ? one.elements.map((each) => each.text) : [];
  }),
];

test('the message says all that is decided about, and leads to both links', async () => {
  const { text: summary, blocks } = await messageFor();
  expect(summary).toBe('Approval needed: agent `agent_pr_reviewer` asks for `repo.read` on `github:repo:acme/widgets`');
  const [facts, reason, context, actions] = blocks;
  expect(facts).toMatchObject({
    type: 'section',
    fields: [
      { text: '*Agent*\n`agent_pr_reviewer`' },
      { text: '*Run*\n`run_1`' },
      { text: '*Workload*\n`system:serviceaccount:agents:reviewer`' },
      { text: '*Tool*\n`github`' },
      { text: '*Capability*\n`repo.read`' },
      { text: '*Resource*\n`github:repo:acme/widgets`' },
      { text: '*Delivery*\n`proxy, for 600 seconds`' },
      { text: '*Waits for*\n`1 approver, until 2026-01-02T03:09:05.000Z`' },
      { text: '*Answers it again*\n`no`' },
      { text: '*May not decide*\n`system:serviceaccount:agents:reviewer`' },
    ],
  });
  expect(reason).toMatchObject({ text: { text: '*Reason*\n`review pull request 7`' } });
  expect(JSON.stringify(context)).toContain('`t_acme`');
  expect(actions).toMatchObject({
    type: 'actions',
    elements: [{ url: expect.stringContaining('/approval#ey') }, { url: expect.stringContaining('/approval#ey') }],
  });
});

test('the message says that two are needed, and that their yes answers again', async () => {
  const texts = textsOf(await messageFor({ approval: { requiredApprovers: 2, reuse: true } }));
  expect(texts).toContain('*Waits for*\n`2 approvers, until 2026-01-02T03:09:05.000Z`');
  expect(texts).toContain('*Answers it again*\n`yes`');
});

test('there are no buttons where links are switched off', async () => {
  world.configured.receivers = [aSlack({ url: slack.url, links: false })];
  const { blocks } = await messageFor();
  expect(blocks.map(({ type }) => type)).toEqual(['section', 'section', 'context']);
});

describe("an agent's words stay words", () => {
  test.each([
    ['a mention of everybody', '<!channel> look', '`&lt;!channel&gt; look`'],
    ['a mention of a person', '<@U012AB3CD>', '`&lt;@U012AB3CD&gt;`'],
    ['a link under another name', '<https://evil.example|asb.example>', '`&lt;https://evil.example|asb.example&gt;`'],
    ['a bare link', 'see https://evil.example', '`see https://evil.example`'],
    ['an entity', '&lt;!channel&gt;', '`&amp;lt;!channel&amp;gt;`'],
    ['a way out of the code', '` *Approved by security* `', '`ˋ *Approved by security* ˋ`'],
    ['a block of code', '```\nrm\n```', '`ˋˋˋ ↵ rm ↵ ˋˋˋ`'],
    ['bold, italic and struck', '*a* _b_ ~c~', '`*a* _b_ ~c~`'],
    ['a quote of its own', 'x\n> approved', '`x ↵ &gt; approved`'],
    ['another field', 'x\n*Resource*\nharmless', '`x ↵ *Resource* ↵ harmless`'],
    ['a turned direction', '\u202Eevil', '`\\u{202e}evil`'],
    ['an emoji by name', ':white_check_mark:', '`:white_check_mark:`'],
    ['nothing', '', '`–`'],
  ])('%s', async (_name, words, shown) => {
    const message = await messageFor({ grant: { reason: words, tool: words } });
    expect(textsOf(message)).toContain(`*Reason*\n${shown}`);
    expect(textsOf(message)).toContain(`*Tool*\n${shown}`);
    for (const each of textsOf(message)) expect(each.replaceAll(/`[^`]*`/g, '')).not.toMatch(/[<>`]|evil|channel/);
  });
});

test('what would be too long for Slack is cut', async () => {
  const reason = '&'.repeat(1000);
  const message = await messageFor({ grant: { reason, resourceRef: `github:repo:acme/${'<'.repeat(600)}` } });
  const texts = textsOf(message);
  for (const each of texts) expect(each.length).toBeLessThanOrEqual(3000);
  const [facts] = message.blocks;
  const fields = facts?.type === 'section' ? (facts.fields ?? []) : [];
  expect(fields).toHaveLength(10);
  for (const each of fields) expect(each.text.length).toBeLessThanOrEqual(2000);
  expect(texts.find((each) => each.startsWith('*Reason*'))).toMatch(/&amp;… \[cut\]`$/);
});

test('links that Slack would refuse are left out, and the message still comes', async () => {
  const links = { approve: `https://asb.example/#${'a'.repeat(3000)}`, deny: 'https://asb.example/#b' };
  const notifier = makeSlackNotifier({
    receiver: aSlack({ url: slack.url }),
    post: makePost(world.clock),
    links: () => Promise.resolve(links),
  });
  const sent = await notifier.send(noticeOf(anAsked(world.clock.now()), 'slack'), new AbortController().signal);
  expect(sent).toEqual({ kind: 'delivered' });
  expect(slackMessage.parse(JSON.parse(slack.received[0]!.body)).blocks.map(({ type }) => type)).not.toContain('actions');
});
