import { afterEach, expect, test } from 'vitest';
import { type Asb, startAsb } from '../support/asb.ts';

let asb: Asb;
afterEach(() => asb.close());

const read = (handle: string) => asb.call('executeGitHubProxy', { proxy_handle: handle, operation: 'repository_metadata' });

test('a call that began while its grant was live is answered and counted after the grant ended; none begins then', async () => {
  asb = await startAsb();
  const { session_token } = await asb.openSession();
  const { delivery } = await asb.requestGrant(session_token, { ttl_seconds: 60 });
  let finish = (): void => undefined;
  asb.github.answerNext((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' }).write('{"late":');
    finish = () => response.end('true}');
  });
  asb.clock.advance(55);
  const arrived = asb.github.nextRequest();
  const result = read(delivery.handle);
  await arrived;
  // One pass of the cleanup ends the grant, and the next drops what belongs to handles that ended.
  asb.clock.advance(6);
  await expect.poll(() => asb.audit.types(), { timeout: 20_000 }).toContain('grant.expired');
  asb.clock.advance(6);
  expect(await read(delivery.handle)).toMatchObject({ ok: false, code: 'unauthorized' });
  finish();
  expect(await result).toMatchObject({ ok: true });
  expect(asb.audit.events.at(-1)).toMatchObject({ type: 'proxy.completed', details: { bytes: 13 } });
});
