import fastify from 'fastify';

export interface LoginSite {
  /** `http://localhost:PORT`. */
  origin: string;
  /** How often somebody logged in, and how often with a wrong password. */
  logins: { right: number; wrong: number };
  close(): Promise<void>;
}

export interface Account {
  username: string;
  password: string;
}

const page = (body: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><title>Ledger</title><body>${body}</body></html>`;
const FORM = page(`<form id="login" method="post" action="/login">
  <input name="user" autocomplete="username"> <input name="password" type="password" autocomplete="current-password">
  <textarea name="comment"></textarea> <button>Log in</button></form>`);

/** A site with a login form, as there are many. */
export async function startLoginSite(account: Account, port = 0): Promise<LoginSite> {
  const app = fastify();
  const logins = { right: 0, wrong: 0 };
  app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) => {
    done(null, new URLSearchParams(String(body)));
  });
  app.get('/', (_request, reply) => reply.type('text/html').send(FORM));
  app.post('/login', (request, reply) => {
    const form = request.body instanceof URLSearchParams ? request.body : new URLSearchParams();
    const isRight = form.get('user') === account.username && form.get('password') === account.password;
    logins[isRight ? 'right' : 'wrong'] += 1;
    const text = isRight ? `<p id="welcome">Welcome, ${account.username}</p>` : '<p id="refused">Wrong password</p>';
    return reply.type('text/html').send(page(text));
  });
  const address = await app.listen({ host: '127.0.0.1', port });
  return { origin: `http://localhost:${new URL(address).port}`, logins, close: () => app.close() };
}
