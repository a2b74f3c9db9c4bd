import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { parseDsnTemplate } from '../../../src/connectors/vaultdb/dsn-template.ts';

const TEMPLATE = 'postgres://{{username}}:{{password}}@db.internal:5432/app?sslmode=verify-full';

describe('a DSN template', () => {
  it('takes a credential', () => {
    const dsn = parseDsnTemplate(TEMPLATE)({ username: 'v-asb-app_ro', password: 'A1a-9' });
    expect(dsn).toBe('postgres://v-asb-app_ro:A1a-9@db.internal:5432/app?sslmode=verify-full');
  });

  it('may have spaces around its placeholders', () => {
    expect(parseDsnTemplate('postgresql://{{ username }}:{{ password }}@db/app')({ username: 'u', password: 'p' })).toBe(
      'postgresql://u:p@db/app',
    );
  });

  it('lets no credential be anything but a user and a password', () => {
    const render = parseDsnTemplate(TEMPLATE);
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), fc.string({ unit: 'grapheme' }), (username, password) => {
        const url = new URL(render({ username, password }));
        expect([url.host, url.pathname, url.search]).toEqual(['db.internal:5432', '/app', '?sslmode=verify-full']);
        expect(decodeURIComponent(url.username)).toBe(username);
        expect(decodeURIComponent(url.password)).toBe(password);
      }),
    );
  });

  it('is not filled in twice: a password that looks like a placeholder stays what it is', () => {
    const url = new URL(parseDsnTemplate(TEMPLATE)({ username: '{{password}}', password: '{{username}}$&' }));
    expect(decodeURIComponent(url.username)).toBe('{{password}}');
    expect(decodeURIComponent(url.password)).toBe('{{username}}$&');
  });

  it.each([
    ['postgres://{{username}}:{{pasword}}@db/app', /\{\{pasword\}\}; it may have/],
    ['postgres://{{username}}@db/app', /must have \{\{password\}\} once/],
    ['postgres://{{username}}:{{password}}@{{username}}/app', /must have \{\{username\}\} once/],
    ['mysql://{{username}}:{{password}}@db/app', /must be postgres:/],
    ['{{username}}:{{password}}@db', /must be postgres:/],
    ['postgres:///app?user={{username}}&password={{password}}', /must be postgres:/],
    ['postgres://db/app?user={{username}}&password={{password}}', /before the host/],
    ['postgres://{{password}}:{{username}}@db/app', /before the host/],
    ['postgres://{{username}}:x{{password}}@db/app', /before the host/],
  ])('%s is refused', (template, message) => {
    expect(() => parseDsnTemplate(template)).toThrow(message);
  });
});
