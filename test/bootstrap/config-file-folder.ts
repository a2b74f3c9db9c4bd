import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ecKey, ed25519Key, publicJwk } from '../support/attestations.ts';
import { makeAppKeys } from '../support/github-app.ts';
import { SAMPLE } from './config-file-sample.ts';

const certificate = readFileSync(new URL('../authn/fixtures/rsa.crt', import.meta.url), 'utf8');

export const SIGNING_SECRET = `whsec_${Buffer.from('canary-of-the-signing-secret').toString('base64')}`;
export const SLACK_URL = 'https://hooks.slack.example/services/T0/B0/canary-of-the-url';

export const APP_KEYS = makeAppKeys();

/** What the files hold that the sample names, when nothing is wrong with them. */
const GOOD_FILES: Readonly<Record<string, string>> = {
  'ca.pem': certificate,
  token: 'a token\n',
  'ci.pem': ecKey.publicPem,
  'delegate.json': JSON.stringify({ keys: [publicJwk(ed25519Key)] }),
  'desk.secret': `${SIGNING_SECRET}\n`,
  'desk.pem': ed25519Key.publicPem,
  'lead.url': `${SLACK_URL}\n`,
  'app.pem': APP_KEYS.pkcs1,
};

/** A folder with a configuration file and all that it names. */
export class ConfigFolder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'asb-config-'));
  readonly file = join(this.path, 'asb.yaml');

  constructor() {
    this.write('asb.yaml', SAMPLE);
    for (const [name, content] of Object.entries(GOOD_FILES)) this.write(name, content);
  }

  /** Only its owner may read it, unless another mode is asked for. */
  write(name: string, content: string | Buffer, mode = 0o600): void {
    const path = join(this.path, name);
    rmSync(path, { force: true });
    writeFileSync(path, content);
    chmodSync(path, mode);
  }

  remove(name: string): void {
    rmSync(join(this.path, name));
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true });
  }
}
