import { z } from 'zod';

const refusal = z.object({ error: z.string(), code: z.string() });

export const say = (text: string): void => void process.stdout.write(`${text}\n`);
let steps = 0;
export const step = (title: string): void => say(`\n${(steps += 1)}. ${title}`);
export const show = (label: string, value: unknown): void => say(`   ${label.padEnd(10)} ${String(value)}`);

/** Calls of a story, each of which must come out as it is told. */
export class Teller {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  /** Makes a call that must succeed, and answers its body. */
  async succeed(path: string, body: unknown, token?: string): Promise<unknown> {
    const answer = await this.#call(path, body, token);
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** Makes a call that must be refused, and shows how. */
  async refused(path: string, body: unknown, status: number, token?: string): Promise<void> {
    const answer = await this.#call(path, body, token);
    if (answer.status !== status) {
      throw new Error(`expected ${status}, got ${answer.status}: ${JSON.stringify(answer.body)}`);
    }
    const { code, error } = refusal.parse(answer.body);
    show('refused', `${answer.status} ${code}: ${error}`);
  }

  /** Reads what must be there. */
  async read(path: string, token: string): Promise<unknown> {
    const response = await fetch(`${this.#url}${path}`, { headers: { authorization: `Bearer ${token}` } });
    if (response.status !== 200) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }

  async #call(path: string, body: unknown, token?: string): Promise<{ status: number; body: unknown }> {
    const headers = {
      'content-type': 'application/json',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
    const response = await fetch(`${this.#url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    return { status: response.status, body: await response.json() };
  }
}
