import { expect, test } from 'vitest';
import { originProblem } from '../../../src/connectors/browser/origin.ts';

test.each(['https://app.example', 'https://app.example:8443', 'https://xn--bcher-kva.example', 'https://[2001:db8::1]'])(
  '%s is an origin',
  (text) => {
    expect(originProblem(text, false)).toBeNull();
  },
);

test.each([
  ['', /must be an origin/],
  ['app.example', /must be an origin/],
  ['javascript:alert(1)', /must be an origin/],
  ['file:///etc/passwd', /must be an origin/],
  ['chrome-extension://abc', /must be an origin/],
  ['https://', /must be an origin/],
  ['https://app.example/', /as browsers write it: https:\/\/app\.example$/],
  ['https://app.example/login', /as browsers write it/],
  ['https://app.example?x', /as browsers write it/],
  ['https://app.example#x', /as browsers write it/],
  ['https://app.example:443', /as browsers write it/],
  ['https://APP.example', /as browsers write it/],
  ['HTTPS://app.example', /as browsers write it/],
  ['https://user@app.example', /as browsers write it/],
  ['https://app.example\\@evil.example', /as browsers write it/],
  ['https://bücher.example', /as browsers write it: https:\/\/xn--bcher-kva\.example$/],
  [' https://app.example', /as browsers write it/],
  ['http://app.example', /must be https/],
  ['http://localhost.evil.example', /must be https/],
  ['http://127.0.0.1.nip.io', /must be https/],
  ['http://localhost', /has to be allowed first/],
])('%j is none', (text, problem) => {
  expect(originProblem(text, false)).toMatch(problem);
});

test('http is for loopback alone, where it is allowed', () => {
  for (const text of ['http://localhost', 'http://localhost:3000', 'http://127.0.0.1:3000', 'http://[::1]:3000']) {
    expect(originProblem(text, true)).toBeNull();
  }
  expect(originProblem('http://app.example', true)).toMatch(/must be https/);
  expect(originProblem('http://localhost/', true)).toMatch(/as browsers write it/);
});
