const PLACEHOLDER = /\{\{\s*(\w*)\s*\}\}/g;
const NAMES = ['username', 'password'] as const;
type Name = (typeof NAMES)[number];
/** What no driver takes literally between `//` and `@`: a template that is safe for this is safe for what Vault makes. */
const SAMPLE: Readonly<Record<Name, string>> = { username: 'v-user:@/?#', password: 'p%:@/?#[]' };

/** Puts a credential into a DSN. */
export type DsnTemplate = (credential: Readonly<Record<Name, string>>) => string;

/**
 * Reads a template such as `postgres://{{username}}:{{password}}@db:5432/app?sslmode=verify-full`. What is put in is percent-encoded
 * (RFC 3986 section 2.1), so that it can end no part of the URL. Throws an Error when it is no Postgres URL, or does not name both
 * placeholders once, where user and password belong.
 */
export function parseDsnTemplate(template: string): DsnTemplate {
  const named = [...template.matchAll(PLACEHOLDER)].map(([, name = '']) => name);
  const unknown = named.find((name) => !isName(name));
  if (unknown !== undefined) {
    throw new Error(`the DSN template has {{${unknown}}}; it may have {{username}} and {{password}}, and nothing else`);
  }
  for (const name of NAMES) {
    if (named.filter((other) => other === name).length !== 1) throw new Error(`the DSN template must have {{${name}}} once`);
  }
  const render: DsnTemplate = (credential) =>
    template.replaceAll(PLACEHOLDER, (_match, name: string) => (isName(name) ? encodeURIComponent(credential[name]) : ''));
  const url = URL.parse(render(SAMPLE));
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol) || url.hostname === '') {
    throw new Error('the DSN template must be postgres://{{username}}:{{password}}@HOST:PORT/DATABASE');
  }
  if (decoded(url.username) !== SAMPLE.username || decoded(url.password) !== SAMPLE.password) {
    throw new Error(
      'the DSN template must have {{username}} and {{password}} before the host: postgres://{{username}}:{{password}}@HOST',
    );
  }
  return render;
}

const isName = (text: string): text is Name => NAMES.some((name) => name === text);

function decoded(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}
