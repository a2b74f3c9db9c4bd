import { createPublicKey, randomBytes } from 'node:crypto';
import { jwtVerify } from 'jose';
import type { RepositoryFixture } from './fixtures.ts';

export type Levels = Readonly<Record<string, 'read' | 'write' | 'admin'>>;

export interface StandInAppOptions {
  appId: number;
  /** PEM; verifies the App's JWTs, by the time of the machine. */
  publicKey: string;
  /** By which tokens end. */
  clock?: { now(): Date };
  /** What the installation was given. */
  permissions?: Levels;
}

/** An installation token as it was made. */
export interface Mint {
  token: string;
  repository: string;
  permissions: Levels;
  expiresAt: Date;
}

/** An answer that is an error of GitHub's. */
export interface Refusal {
  status: number;
  message: string;
}

/** Who asks, as far as GitHub knows: with a token of its own, as the App, or with an installation token. */
export type Caller = { kind: 'owner' } | { kind: 'app' } | { kind: 'installation'; mint: Mint };

const TOKEN_LIFE_MS = 60 * 60 * 1000;
const JWT_LIFE_SECONDS = 600;
const ALL: Levels = { metadata: 'read', contents: 'write', issues: 'write', pull_requests: 'write', checks: 'write' };
const RANK = { read: 1, write: 2, admin: 3 };

export const NOT_FOUND: Refusal = { status: 404, message: 'Not Found' };
const BAD_CREDENTIALS: Refusal = { status: 401, message: 'Bad credentials' };
const BAD_JWT: Refusal = { status: 401, message: 'A JSON web token could not be decoded' };
const SUSPENDED: Refusal = { status: 403, message: 'This installation has been suspended' };
const NOT_ACCESSIBLE: Refusal = { status: 403, message: 'Resource not accessible by integration' };
const OUTSIDE: Refusal = {
  status: 422,
  message: 'There is at least one repository that does not exist or is not accessible to the parent installation.',
};
const NOT_GRANTED: Refusal = { status: 422, message: 'The permissions requested are not granted to this installation.' };

/** What GitHub knows about one App and its one installation, on the account `acme`. */
export class StandInApp {
  readonly appId: number;
  readonly permissions: Levels;
  /** Every token that was made, oldest first. */
  readonly mints: Mint[] = [];
  #installation: number | null = 4001;
  #nextInstallation = 4002;
  #suspendedAt: Date | null = null;
  readonly #removed = new Set<string>();
  readonly #dead = new Set<string>();
  readonly #key;
  readonly #now: () => Date;

  constructor({ appId, publicKey, clock, permissions = ALL }: StandInAppOptions) {
    this.appId = appId;
    this.permissions = permissions;
    this.#key = createPublicKey(publicKey);
    this.#now = () => clock?.now() ?? new Date();
  }

  /** Takes the App off the account; its tokens end. */
  uninstall(): void {
    this.#installation = null;
    this.refuseAllTokens();
  }

  /** Puts it there again, under another id. */
  reinstall(): void {
    this.uninstall();
    this.#installation = this.#nextInstallation++;
  }

  suspend(): void {
    this.#suspendedAt = this.#now();
  }

  resume(): void {
    this.#suspendedAt = null;
  }

  /** Takes a repository out of the installation; `OWNER/NAME`. */
  remove(repository: string): void {
    this.#removed.add(repository.toLowerCase());
  }

  /** Every token that was made so far is answered 401 from now on. */
  refuseAllTokens(): void {
    for (const { token } of this.mints) this.#dead.add(token);
  }

  revoke({ token }: Mint): void {
    this.#dead.add(token);
  }

  /** Whether GitHub still takes a token. */
  isLive(token: string): boolean {
    const mint = this.mints.find((each) => each.token === token);
    return mint !== undefined && !this.#dead.has(token) && this.#now() < mint.expiresAt;
  }

  /** Who sends this credential. */
  async callerOf(credential: string): Promise<Caller | Refusal> {
    const mint = this.mints.find(({ token }) => token === credential);
    if (mint !== undefined) return this.isLive(credential) ? { kind: 'installation', mint } : BAD_CREDENTIALS;
    if (!credential.includes('.')) return BAD_CREDENTIALS;
    try {
      const { payload } = await jwtVerify(credential, this.#key, { algorithms: ['RS256'] });
      // GitHub takes the App's id as a number and as text.
      if (String(payload.iss) !== String(this.appId)) return BAD_JWT;
      const { exp = Infinity } = payload;
      return exp <= Date.now() / 1000 + JWT_LIFE_SECONDS ? { kind: 'app' } : BAD_JWT;
    } catch {
      return BAD_JWT;
    }
  }

  /** The installation that a repository is in; null for none. */
  installationOf(repository: RepositoryFixture): { id: number; suspendedAt: string | null } | null {
    if (this.#installation === null || this.#removed.has(repository.names[0].toLowerCase())) return null;
    return { id: this.#installation, suspendedAt: this.#suspendedAt?.toISOString().replace(/\.\d+Z$/, 'Z') ?? null };
  }

  /** https://docs.github.com/rest/apps/apps#create-an-installation-access-token-for-an-app */
  mint(installation: number, repositories: readonly RepositoryFixture[], names: readonly string[], permissions: Levels) {
    if (installation !== this.#installation) return NOT_FOUND;
    if (this.#suspendedAt !== null) return SUSPENDED;
    const found = repositories.find(({ names: [fullName] }) => fullName.split('/')[1] === names[0]);
    if (names.length !== 1 || found === undefined || this.installationOf(found) === null) return OUTSIDE;
    if (!Object.entries(permissions).every(([name, level]) => allows(this.permissions, name, level))) return NOT_GRANTED;
    const mint: Mint = {
      token: `ghs_${randomBytes(18).toString('hex')}`,
      repository: found.names[0],
      permissions: { ...permissions, metadata: 'read' },
      expiresAt: new Date(Math.floor(this.#now().getTime() / 1000) * 1000 + TOKEN_LIFE_MS),
    };
    this.mints.push(mint);
    return { mint, repository: found };
  }

  /** Why a token may not do something in a repository; null when it may. */
  refusalOf({ repository, permissions }: Mint, target: RepositoryFixture, needed: Levels): Refusal | null {
    if (this.#suspendedAt !== null) return SUSPENDED;
    if (repository !== target.names[0] || this.installationOf(target) === null) return NOT_FOUND;
    const may = Object.entries(needed).some(([name, level]) => allows(permissions, name, level));
    return may ? null : NOT_ACCESSIBLE;
  }
}

const allows = (given: Levels, name: string, level: 'read' | 'write' | 'admin'): boolean =>
  RANK[given[name] ?? 'read'] >= RANK[level] && name in given;
