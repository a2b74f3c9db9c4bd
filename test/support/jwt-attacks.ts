import { createHmac } from 'node:crypto';
import { CompactEncrypt, FlattenedSign } from 'jose';
import { encodePart } from './attestations.ts';
import { type JwtVerifier, makeSigningKey, type SigningKey } from './jwt-verifiers.ts';

/** Makes what must be refused. What is `signed` carries the signature of the right key, so that nothing but its content is wrong. */
export type JwtAttack = readonly [name: string, forge: (verifier: JwtVerifier) => string | Promise<string>];

type Members = Readonly<Record<string, unknown>>;

/** A good token, but for the changes. Text and bytes are taken as they are, members replace those of the good token. */
export interface Changes {
  header?: Members | string | Buffer;
  claims?: Members | string | Buffer;
  signer?: Pick<SigningKey, 'signBytes'>;
}

export function makeJwt(verifier: JwtVerifier, { header = {}, claims = {}, signer = verifier.key }: Changes = {}): string {
  const input = `${part(verifier.header, header)}.${part(verifier.claims(), claims)}`;
  return `${input}.${signer.signBytes(input).toString('base64url')}`;
}

function part(good: Members, change: Members | string | Buffer): string {
  if (Buffer.isBuffer(change)) return change.toString('base64url');
  return encodePart(typeof change === 'string' ? change : { ...good, ...change });
}

const strangers = { RS256: makeSigningKey('RS256'), ES256: makeSigningKey('ES256'), EdDSA: makeSigningKey('EdDSA') };
const strangerTo = ({ key }: JwtVerifier) => strangers[key.alg];
const byStranger = (verifier: JwtVerifier, header: Members) => makeJwt(verifier, { header, signer: strangerTo(verifier) });

const splitGood = (verifier: JwtVerifier) => makeJwt(verifier).split('.') as [string, string, string];
const signatureOf = (token: string) => Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url');

/** A good token whose signature is put in another form. */
function resigned(verifier: JwtVerifier, change: (signature: Buffer) => Buffer | string): string {
  const [header, payload, signature] = splitGood(verifier);
  const changed = change(Buffer.from(signature, 'base64url'));
  return `${header}.${payload}.${typeof changed === 'string' ? changed : changed.toString('base64url')}`;
}

/** A token of another algorithm, with a signature that was made without any key. */
function claimingAlg(verifier: JwtVerifier, alg: unknown, signature: string): string {
  return `${encodePart({ ...verifier.header, alg })}.${splitGood(verifier)[1]}.${signature}`;
}

function byHmac(verifier: JwtVerifier, secret: string | Buffer, bits = 256): string {
  const input = `${encodePart({ ...verifier.header, alg: `HS${bits}` })}.${splitGood(verifier)[1]}`;
  return `${input}.${createHmac(`sha${bits}`, secret).update(input).digest('base64url')}`;
}

const pemOf = ({ key }: JwtVerifier) => key.publicKey.export({ format: 'pem', type: 'spki' }).toString();
const derOf = ({ key }: JwtVerifier) => key.publicKey.export({ format: 'der', type: 'spki' });
/** The letter after differs in a bit that decoders throw away. */
const respelled = (text: string) => text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1);
const edited = (verifier: JwtVerifier) => encodePart({ ...verifier.claims(), sub: 'admin', iat: 1 });

const NONE: readonly JwtAttack[] = ['none', 'None', 'NONE', 'nOnE', 'none ', ' none', '\u0000none', 'n\u043ene', ''].flatMap(
  (alg) =>
    [
      [`alg ${JSON.stringify(alg)} without a signature`, (v) => claimingAlg(v, alg, '')],
      [`alg ${JSON.stringify(alg)} with some signature`, (v) => claimingAlg(v, alg, 'AAAA')],
      [`alg ${JSON.stringify(alg)} with the good signature`, (v) => claimingAlg(v, alg, splitGood(v)[2])],
      [`alg ${JSON.stringify(alg)}, signed`, (v) => makeJwt(v, { header: { alg } })],
    ] as const,
);

const ALGORITHMS: readonly JwtAttack[] = [
  ...NONE,
  ['no alg, signed', (v) => makeJwt(v, { header: { alg: undefined } })],
  ['alg null, signed', (v) => makeJwt(v, { header: { alg: null } })],
  ['alg a list, signed', (v) => makeJwt(v, { header: { alg: [v.key.alg] } })],
  ['alg a number, signed', (v) => makeJwt(v, { header: { alg: 256 } })],
  ['alg in small letters, signed', (v) => makeJwt(v, { header: { alg: v.key.alg.toLowerCase() } })],
  ['alg of every object, signed', (v) => makeJwt(v, { header: { alg: 'constructor' } })],
  ['alg of encryption, signed', (v) => makeJwt(v, { header: { alg: 'RSA-OAEP' } })],
  ['HS256 keyed with the public PEM', (v) => byHmac(v, pemOf(v))],
  ['HS256 keyed with the trimmed PEM', (v) => byHmac(v, pemOf(v).trim())],
  ['HS256 keyed with the public DER', (v) => byHmac(v, derOf(v))],
  ['HS384 keyed with the public PEM', (v) => byHmac(v, pemOf(v), 384)],
  ['HS512 keyed with the public PEM', (v) => byHmac(v, pemOf(v), 512)],
  ['HS256 keyed with the public JWK', (v) => byHmac(v, JSON.stringify(v.key.publicJwk))],
  [
    'HS256 keyed with the number in the JWK',
    (v) => byHmac(v, Buffer.from(v.key.publicJwk.x ?? v.key.publicJwk.n!, 'base64url')),
  ],
  ['HS256 keyed with the kid', (v) => byHmac(v, String(v.header['kid']))],
  ['HS256 keyed with nothing', (v) => byHmac(v, '')],
  ...(['RS256', 'ES256', 'EdDSA'] as const).map((alg): JwtAttack => [
    `${alg} by a stranger`,
    (v) => makeJwt(v, { header: { alg }, signer: strangers[alg] }),
  ]),
  ...['RS384', 'RS512', 'PS256', 'ES384', 'ES256K', 'Ed448'].map((alg): JwtAttack => [
    `the good signature called ${alg}, signed`,
    (v) => makeJwt(v, { header: { alg } }),
  ]),
];

const zeros = (length: number) => Buffer.alloc(length).toString('base64url');
const P256_ORDER = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
const ONE = Buffer.from('01'.padStart(64, '0'), 'hex');
const NAUGHT = Buffer.alloc(32);
const pair = (r: Buffer, s: Buffer) => Buffer.concat([r, s]).toString('base64url');
/** The order of edwards25519's group, which RFC 8032 section 5.1.7 keeps S below. */
const ED25519_ORDER = 2n ** 252n + 27742317777372353535851937790883648493n;
/** The neutral point, encoded. */
const IDENTITY = Buffer.from('01'.padEnd(64, '0'), 'hex');

function addOrder(signature: Buffer): Buffer {
  const s = BigInt(`0x${Buffer.from(signature.subarray(32, 64)).reverse().toString('hex')}`) + ED25519_ORDER;
  const encoded = Buffer.from(s.toString(16).padStart(64, '0'), 'hex').reverse();
  return Buffer.concat([signature.subarray(0, 32), encoded]);
}

/** ASN.1, as other libraries write an ECDSA signature: RFC 7518 section 3.4 wants the two numbers and nothing else. */
function toDer(signature: Buffer): Buffer {
  const integer = (bytes: Buffer) => Buffer.concat([Buffer.from([2, bytes.length + 1, 0]), bytes]);
  const half = signature.length / 2;
  const body = Buffer.concat([integer(signature.subarray(0, half)), integer(signature.subarray(half))]);
  return Buffer.concat([Buffer.from([0x30, body.length]), body]);
}

const SIGNATURES: readonly JwtAttack[] = [
  ['a stranger signs', (v) => makeJwt(v, { signer: strangerTo(v) })],
  ['signature dropped', (v) => resigned(v, () => '')],
  ['signature and its dot dropped', (v) => splitGood(v).slice(0, 2).join('.')],
  ['signature of zeros', (v) => resigned(v, ({ length }) => Buffer.alloc(length))],
  ['signature of ones', (v) => resigned(v, ({ length }) => Buffer.alloc(length, 0xff))],
  ['signature of one byte', (v) => resigned(v, () => Buffer.alloc(1))],
  ['signature without its last byte', (v) => resigned(v, (signature) => signature.subarray(0, -1))],
  ['signature and a byte', (v) => resigned(v, (signature) => Buffer.concat([signature, Buffer.alloc(1)]))],
  ['a byte and the signature', (v) => resigned(v, (signature) => Buffer.concat([Buffer.alloc(1), signature]))],
  ['signature twice', (v) => resigned(v, (signature) => Buffer.concat([signature, signature]))],
  ['signature backwards', (v) => resigned(v, (signature) => Buffer.from(signature).reverse())],
  ['signature as DER', (v) => resigned(v, (signature) => toDer(signature.subarray(0, 64)))],
  ['signature in another spelling', (v) => resigned(v, (signature) => respelled(signature.toString('base64url')))],
  ['signature with padding', (v) => resigned(v, (signature) => `${signature.toString('base64url')}==`)],
  ['signature in standard base64', (v) => resigned(v, (signature) => signature.toString('base64'))],
  ['signature in hexadecimal', (v) => resigned(v, (signature) => signature.toString('hex'))],
  ['signature with a line end inside', (v) => resigned(v, (s) => s.toString('base64url').replace(/^.{9}/, '$&\n'))],
  ['signature of another good token', (v) => `${splitGood(v)[0]}.${edited(v)}.${splitGood(v)[2]}`],
  ['psychic signature (CVE-2022-21449)', (v) => claimingAlg(v, 'ES256', zeros(64))],
  ['psychic signature as DER', (v) => claimingAlg(v, 'ES256', Buffer.from('3006020100020100', 'hex').toString('base64url'))],
  ['psychic signature of the order', (v) => claimingAlg(v, 'ES256', pair(P256_ORDER, P256_ORDER))],
  ['psychic signature of r one and s nought', (v) => claimingAlg(v, 'ES256', pair(ONE, NAUGHT))],
  ['psychic signature of r nought and s one', (v) => claimingAlg(v, 'ES256', pair(NAUGHT, ONE))],
  ['Ed25519 signature of the neutral point', (v) => claimingAlg(v, 'EdDSA', pair(IDENTITY, NAUGHT))],
  ['Ed25519 signature of zeros', (v) => claimingAlg(v, 'EdDSA', zeros(64))],
  ['Ed25519 signature with the order added to S', (v) => resigned(v, addOrder)],
];

const KEYS: readonly JwtAttack[] = [
  ['the jwk of a stranger', (v) => byStranger(v, { jwk: strangerTo(v).publicJwk })],
  [
    'the jwk of a stranger under our kid',
    (v) => byStranger(v, { jwk: { ...strangerTo(v).publicJwk, kid: v.header['kid'] } }),
  ],
  ['the private jwk of a stranger', (v) => byStranger(v, { jwk: strangerTo(v).privateKey.export({ format: 'jwk' }) })],
  ['a jku of a stranger', (v) => byStranger(v, { jku: 'https://attacker.example/jwks.json' })],
  ['a jku that leads to a file', (v) => byStranger(v, { jku: 'file:///dev/null' })],
  ['an x5u of a stranger', (v) => byStranger(v, { x5u: 'https://attacker.example/cert.pem' })],
  ['an x5c of a stranger', (v) => byStranger(v, { x5c: [derOf(v).toString('base64')] })],
  ['kid as a path', (v) => byStranger(v, { kid: '../../../../../dev/null' })],
  ['kid as SQL', (v) => byStranger(v, { kid: "x' UNION SELECT 'secret';--" })],
  ['kid as a command', (v) => byStranger(v, { kid: '|/usr/bin/id' })],
  ['kid as a URL', (v) => byStranger(v, { kid: 'https://attacker.example/jwks.json' })],
  ['kid with a zero byte', (v) => byStranger(v, { kid: `${String(v.header['kid'])}\0` })],
  ['kid of every object', (v) => byStranger(v, { kid: '__proto__' })],
  ['kid a list', (v) => byStranger(v, { kid: [v.header['kid']] })],
  ['kid an object', (v) => byStranger(v, { kid: { $ne: null } })],
  ['kid a number', (v) => byStranger(v, { kid: 0 })],
  ['kid empty', (v) => byStranger(v, { kid: '' })],
  ['no kid', (v) => byStranger(v, { kid: undefined })],
];

const HEADERS: readonly JwtAttack[] = [
  ['an unknown critical parameter, signed', (v) => makeJwt(v, { header: { crit: ['x'], x: 1 } })],
  ['a critical parameter that is known and absent, signed', (v) => makeJwt(v, { header: { crit: ['b64'] } })],
  ['a critical exp, signed', (v) => makeJwt(v, { header: { crit: ['exp'], exp: 9e9 } })],
  ['crit empty, signed', (v) => makeJwt(v, { header: { crit: [] } })],
  ['crit as text, signed', (v) => makeJwt(v, { header: { crit: 'x', x: 1 } })],
  ['crit null, signed', (v) => makeJwt(v, { header: { crit: null } })],
  ['crit of every object, signed', (v) => makeJwt(v, { header: { crit: ['__proto__'] } })],
  ['b64 false (RFC 7797), signed', (v) => makeJwt(v, { header: { crit: ['b64'], b64: false } })],
  ['b64 false over the claims themselves, signed', unencoded],
  ['alg twice, none last, signed', (v) => makeJwt(v, { header: twice(v, 'alg', v.key.alg, 'none') })],
  ['alg twice, none first, without a signature', (v) => `${encodePart(twice(v, 'alg', 'none', v.key.alg))}.${edited(v)}.`],
  [
    'alg twice, none first, by a stranger',
    (v) => makeJwt(v, { header: twice(v, 'alg', 'none', v.key.alg), signer: strangerTo(v) }),
  ],
  ['kid twice, by a stranger', (v) => makeJwt(v, { header: twice(v, 'kid', 'x', v.header['kid']), signer: strangerTo(v) })],
  ['header an array, signed', (v) => makeJwt(v, { header: '[{"alg":"none"}]' })],
  ['header null, signed', (v) => makeJwt(v, { header: 'null' })],
  ['header text, signed', (v) => makeJwt(v, { header: '"none"' })],
  ['header cut short, signed', (v) => makeJwt(v, { header: JSON.stringify(v.header).slice(0, -1) })],
  ['header with a comma too many, signed', (v) => makeJwt(v, { header: JSON.stringify(v.header).replace(/\}$/, ',}') })],
  ['header and more, signed', (v) => makeJwt(v, { header: `${JSON.stringify(v.header)}{}` })],
  ['header not UTF-8, signed', (v) => makeJwt(v, { header: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) })],
  ['header re-encoded', (v) => [encodePart(`${JSON.stringify(v.header)} `), ...splitGood(v).slice(1)].join('.')],
  ['header empty', (v) => `.${splitGood(v).slice(1).join('.')}`],
];

function twice({ header }: JwtVerifier, name: string, first: unknown, last: unknown): string {
  const rest = JSON.stringify({ ...header, [name]: undefined }).slice(1, -1);
  const member = (value: unknown) => `${JSON.stringify(name)}:${JSON.stringify(value)}`;
  return `{${member(first)},${rest},${member(last)}}`;
}

/** Base64url letters are what the compact form lets pass unencoded. */
function unencoded(v: JwtVerifier): string {
  const input = `${encodePart({ ...v.header, crit: ['b64'], b64: false })}.${encodePart(v.claims())}`;
  return `${input}.${v.key.signBytes(input).toString('base64url')}`;
}

const FORMS: readonly JwtAttack[] = [
  ['the payload of another', (v) => [splitGood(v)[0], edited(v), splitGood(v)[2]].join('.')],
  ['payload detached', (v) => [splitGood(v)[0], '', splitGood(v)[2]].join('.')],
  ['payload empty, signed', (v) => makeJwt(v, { claims: '' })],
  ['payload a list, signed', (v) => makeJwt(v, { claims: JSON.stringify([v.claims()]) })],
  ['payload null, signed', (v) => makeJwt(v, { claims: 'null' })],
  ['payload true, signed', (v) => makeJwt(v, { claims: 'true' })],
  ['payload a number, signed', (v) => makeJwt(v, { claims: '7' })],
  ['payload text, signed', (v) => makeJwt(v, { claims: JSON.stringify(JSON.stringify(v.claims())) })],
  ['payload no JSON, signed', (v) => makeJwt(v, { claims: 'admin=true' })],
  ['payload not UTF-8, signed', (v) => makeJwt(v, { claims: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]) })],
  ['payload and more, signed', (v) => makeJwt(v, { claims: `${JSON.stringify(v.claims())}{}` })],
  ['payload an empty object, signed', (v) => makeJwt(v, { claims: '{}' })],
  ['nested JWT, signed', (v) => makeJwt(v, { header: { cty: 'JWT' }, claims: makeJwt(v) })],
  ['nested JWT as text, signed', (v) => makeJwt(v, { header: { cty: 'JWT' }, claims: JSON.stringify(makeJwt(v)) })],
  ['JWE for an RSA key', (v) => encrypted(v, 'RSA-OAEP-256', strangers.RS256)],
  ['JWE for an EC key', (v) => encrypted(v, 'ECDH-ES', strangers.ES256)],
  ['JWE with the public key as secret', (v) => directly(v)],
  ['five parts', (v) => `${makeJwt(v)}.AAAA.AAAA`],
  ['four parts', (v) => `${makeJwt(v)}.AAAA`],
  ['the token twice', (v) => `${makeJwt(v)}.${makeJwt(v)}`],
  ['two tokens', (v) => `${makeJwt(v)} ${makeJwt(v)}`],
  ['two tokens with a comma', (v) => `${makeJwt(v)},${makeJwt(v)}`],
  ['flattened JSON', flattened],
  ['general JSON', async (v) => JSON.stringify({ payload: splitGood(v)[1], signatures: [JSON.parse(await flattened(v))] })],
  ['white space before', (v) => ` ${makeJwt(v)}`],
  ['white space after', (v) => `${makeJwt(v)} `],
  ['a line end after', (v) => `${makeJwt(v)}\n`],
  ['a zero byte after', (v) => `${makeJwt(v)}\0`],
  ['Bearer in front', (v) => `Bearer ${makeJwt(v)}`],
  ['in quotes', (v) => `"${makeJwt(v)}"`],
  ['nothing', () => ''],
  ['dots', () => '..'],
  ['a megabyte of dots', () => '.'.repeat(1 << 20)],
  ['a megabyte of header', (v) => `${'A'.repeat(1 << 20)}.${splitGood(v).slice(1).join('.')}`],
  ['a megabyte of signature', (v) => resigned(v, () => 'A'.repeat(1 << 20))],
  ['a megabyte of claims, signed', (v) => makeJwt(v, { claims: { pad: 'x'.repeat(1 << 20) } })],
  ['claims nested 100000 deep, signed', (v) => makeJwt(v, { claims: `{"a":${'['.repeat(1e5)}${']'.repeat(1e5)}}` })],
];

async function flattened(v: JwtVerifier): Promise<string> {
  const key = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']);
  if (!('privateKey' in key)) throw new Error('no key pair');
  const jws = await new FlattenedSign(new TextEncoder().encode(JSON.stringify(v.claims())))
    .setProtectedHeader({ alg: 'EdDSA' })
    .sign(key.privateKey);
  return JSON.stringify(jws);
}

function encrypted(v: JwtVerifier, alg: string, recipient: SigningKey): Promise<string> {
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(v.claims())))
    .setProtectedHeader({ ...v.header, alg, enc: 'A256GCM' })
    .encrypt(recipient.publicKey);
}

function directly(v: JwtVerifier): Promise<string> {
  return new CompactEncrypt(new TextEncoder().encode(JSON.stringify(v.claims())))
    .setProtectedHeader({ ...v.header, alg: 'dir', enc: 'A256GCM' })
    .encrypt(derOf(v).subarray(-32));
}

const TIMES: readonly JwtAttack[] = [
  ['as text', (now: number) => String(now + 60)],
  ['as hexadecimal', () => '0x7fffffff'],
  ['as a date', () => '2030-01-01T00:00:00Z'],
  ['null', () => null],
  ['missing', () => undefined],
  ['true', () => true],
  ['a list', (now: number) => [now + 60]],
  ['an object', () => ({})],
  ['nought', () => 0],
  ['negative', () => -1],
  ['hugely negative', () => -1e300],
  ['past', (now: number) => now - 3600],
  ['beyond the year 9999', () => 253_402_300_800],
  ['huge', () => 1e300],
  ['of milliseconds', (now: number) => now * 1e6],
].map(([name, value]): JwtAttack => [
  `time ${String(name)}, signed`,
  (v) => {
    const good = v.claims();
    const now = Number(good[v.timeClaim]) - (v.timeClaim === 'exp' ? 900 : 0);
    return makeJwt(v, { claims: { [v.timeClaim]: typeof value === 'function' ? value(now) : value } });
  },
]);

const CLAIMS: readonly JwtAttack[] = [
  ...TIMES,
  [
    'time infinite, signed',
    (v) => makeJwt(v, { claims: JSON.stringify({ ...v.claims(), [v.timeClaim]: -7 }).replace(':-7', ':1e999') }),
  ],
  ['not valid yet, signed', (v) => makeJwt(v, { claims: { nbf: Number(v.claims()[v.timeClaim]) + 1e6 } })],
  ['nbf as text, signed', (v) => makeJwt(v, { claims: { nbf: 'now' } })],
];

/** Known attacks on JWTs and their verifiers (RFC 8725 sections 2 and 3, RFC 7515 section 10). */
export const JWT_ATTACKS: readonly JwtAttack[] = [...ALGORITHMS, ...SIGNATURES, ...KEYS, ...HEADERS, ...FORMS, ...CLAIMS];

/** Of an ECDSA signature the other one that is as good: `s` and its negative. */
export function negated(token: string): string {
  const signature = signatureOf(token);
  const order = BigInt(`0x${P256_ORDER.toString('hex')}`);
  const s = order - BigInt(`0x${signature.subarray(32).toString('hex')}`);
  const other = Buffer.concat([signature.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
  return token.slice(0, token.lastIndexOf('.') + 1) + other.toString('base64url');
}
