import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startChromium } from '../../dev/browser/chromium.ts';
import { type LoginSite, startLoginSite } from '../../dev/browser/login-site.ts';
import { PageRelay } from '../../dev/browser/relay.ts';
import { makeRelayKeys } from '../../dev/browser/relay-keys.ts';
import { makeRelaySealer } from '../../src/crypto/relay-sealer.ts';
import type { ArtifactId } from '../../src/domain/ids.ts';

const ARTIFACT = 'art_1' as ArtifactId;
const SELECTORS = { user: 'input[name=user]', password: 'input[type=password]' };
const sealer = makeRelaySealer();

let browser: Browser;
let site: LoginSite;
let other: LoginSite;
beforeAll(async () => {
  [browser, site, other] = await Promise.all([
    startChromium(),
    startLoginSite({ username: 'robot', password: 'pa"ss' }),
    startLoginSite({ username: 'robot', password: 'pa"ss' }),
  ]);
});
afterAll(() => Promise.all([browser.close(), site.close(), other.close()]));

let page: Page;
let relay: PageRelay;
beforeEach(async () => {
  page = await browser.newPage();
  await page.goto(site.origin);
  relay = new PageRelay(page, await makeRelayKeys('key-1'), 'tab-1');
});
afterEach(() => page.close());

/** As unwrapping would answer, sealed for the place where the relay is now. */
async function answerFor({ password = SELECTORS.password } = {}) {
  const { publicKey } = await sealer.readKey(relay.keys.publicKey);
  const seal = async (name: string, selector: string, value: string) => {
    const input = { artifactId: ARTIFACT, keyId: 'key-1', ...relay.place(), name, selector };
    return { name, selector, value: await sealer.seal(value, publicKey, input) };
  };
  const fields = [await seal('username', SELECTORS.user, 'robot'), await seal('password', password, 'pa"ss')];
  return { artifact_id: ARTIFACT, fields };
}

const typed = async () => [await page.inputValue(SELECTORS.user), await page.inputValue(SELECTORS.password)];

describe('a relay at a page', () => {
  test('fills the form, and leaves it to others to submit it', async () => {
    await relay.fill(await answerFor());
    expect(await typed()).toEqual(['robot', 'pa"ss']);
    expect(site.logins).toEqual({ right: 0, wrong: 0 });
    await page.click('button');
    expect(await page.textContent('#welcome')).toBe('Welcome, robot');
  });

  test('fills nothing when the page has gone to another origin meanwhile', async () => {
    const answer = await answerFor();
    await page.goto(other.origin);
    await expect(relay.fill(answer)).rejects.toThrow('the value of username was sealed for another origin');
    expect(await typed()).toEqual(['', '']);
  });

  test('fills nothing when somebody on the way has turned the password to a field that shows it', async () => {
    const { fields, ...answer } = await answerFor();
    const turned = fields.map((field) => ({ ...field, selector: field.name === 'password' ? 'textarea' : field.selector }));
    await expect(relay.fill({ ...answer, fields: turned })).rejects.toThrow('sealed for another selector');
    expect(await typed()).toEqual(['', '']);
    expect(await page.inputValue('textarea')).toBe('');
  });

  test.each(['#nowhere', 'form > *'])('fills nothing when %s is not there once', async (password) => {
    await expect(relay.fill(await answerFor({ password }))).rejects.toThrow(/is on the page \d times/);
    expect(await typed()).toEqual(['', '']);
  });
});
