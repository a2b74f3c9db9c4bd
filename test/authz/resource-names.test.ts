import { describe, expect, test } from 'vitest';
import { canonicalName, namesResource } from '../../src/authz/resource-names.ts';
import { parseResourceRef, type ResourceKind } from '../../src/domain/resource.ts';

describe('each kind of resource has one spelling', () => {
  test.each<[kind: ResourceKind, name: string, canonical: string | null]>([
    ['github_repo', 'Acme/Widgets', 'acme/widgets'],
    // The Kelvin sign becomes a k in lower case; it is no k for GitHub.
    ['github_repo', 'acme/\u212aeys', 'acme/\u212aeys'],
    ['db_role', 'Analytics_RO', 'Analytics_RO'],
    ['browser_origin', 'https://app.example', 'https://app.example'],
    ['browser_origin', 'http://localhost:8080', 'http://localhost:8080'],
    ['browser_origin', 'https://app.example/', null],
    ['browser_origin', 'https://app.example:443', null],
    ['browser_origin', 'https://APP.example', null],
    ['browser_origin', 'https://app.example@evil.example', null],
    ['browser_origin', 'https:\\\\app.example', null],
    ['browser_origin', ' https://app.example', null],
    ['browser_origin', 'javascript:alert(1)', null],
    ['browser_origin', 'ftp://app.example', null],
    ['browser_origin', 'null', null],
    ['browser_origin', 'app.example', null],
  ])('%s %j', (kind, name, canonical) => {
    expect(canonicalName(kind, name)).toBe(canonical);
  });

  test.each<[names: string[], ref: string, named: boolean]>([
    [['ACME/widgets'], 'github:repo:acme/Widgets', true],
    [['acme/widgets'], 'github:repo:acme/widgets-2', false],
    [['acme/*'], 'github:repo:acme/widgets', false],
    [[], 'github:repo:acme/widgets', false],
    [['analytics_ro'], 'dbrole:ANALYTICS_RO', false],
    [['analytics_ro'], 'dbrole:analytics_ro', true],
    [['https://app.example'], 'browser_origin:https://app.example', true],
    [['https://app.example'], 'browser_origin:https://app.example.evil.example', false],
    [['https://app.example'], 'browser_origin:http://app.example', false],
    [['https://app.example'], 'browser_origin:https://app.example:8443', false],
    // What is no origin is not even the same as itself.
    [['null'], 'browser_origin:null', false],
  ])('%j names %s: %s', (names, ref, named) => {
    expect(namesResource(names, parseResourceRef(ref))).toBe(named);
  });
});
