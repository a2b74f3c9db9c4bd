import { describe, expect, it } from 'vitest';
import { LockOrder } from '../../../src/store/postgres/lock-order.ts';

type Taking = (locks: LockOrder) => void;

/** What a unit takes, one change after the other. */
const after = (...taking: Taking[]): unknown => {
  const locks = new LockOrder();
  for (const take of taking) take(locks);
  const first = locks.toBeTakenFirst();
  return first === null ? null : JSON.parse(first);
};
const share =
  (kind: 'sessions' | 'grants' | 'approvals' | 'artifacts', id: string): Taking =>
  (locks) =>
    locks.take(kind, id, true);
const own =
  (kind: 'sessions' | 'grants' | 'approvals' | 'artifacts', id: string): Taking =>
  (locks) =>
    locks.take(kind, id, false);
const made =
  (id: string): Taking =>
  (locks) =>
    locks.made(id);
const last: Taking = (locks) => locks.takeLast();
const block =
  (kind: 'run' | 'workload', isShared: boolean): Taking =>
  (locks) =>
    locks.takeBlock(kind, 't', kind === 'run' ? 'run_1' : 'hash', isShared);

describe('a unit that locks in the common order', () => {
  it.each<[string, Taking[]]>([
    ['nothing', []],
    [
      'blocks, sessions, grants, approvals and artifacts',
      [
        block('run', true),
        block('workload', true),
        own('sessions', 'a'),
        own('grants', 'a'),
        own('approvals', 'a'),
        own('artifacts', 'a'),
        last,
        last,
      ],
    ],
    ['rows of a kind by their ids', [own('grants', 'a'), own('grants', 'b'), own('grants', 'c')]],
    ['a row twice, the second time not more', [own('sessions', 'a'), own('grants', 'a'), share('sessions', 'a')]],
    [
      'an earlier row that it has made itself',
      [own('artifacts', 'a'), made('s'), own('sessions', 's'), share('grants', 'x')].slice(0, 3),
    ],
  ])('takes nothing first when it locks %s', (_, taking) => {
    expect(after(...taking)).toBeNull();
  });
});

describe('a unit that leaves the common order', () => {
  it('takes all that it locks first, in the order', () => {
    expect(after(own('artifacts', 'z'), own('grants', 'b'), share('sessions', 's'), own('grants', 'a'))).toEqual([
      { of: 'sessions', ids: ['s'], is_shared: true },
      { of: 'grants', ids: ['a', 'b'], is_shared: false },
      { of: 'artifacts', ids: ['z'], is_shared: false },
    ]);
  });

  it.each<[string, Taking[]]>([
    ['an earlier kind', [own('grants', 'a'), own('sessions', 'a')]],
    ['a smaller id', [own('grants', 'b'), own('grants', 'a')]],
    ['more of a row than it shared', [share('grants', 'a'), own('grants', 'a')]],
    ['a row after what comes last', [last, own('artifacts', 'a')]],
    ['a block after a row', [own('sessions', 'a'), block('run', true)]],
    ['a run after a workload', [block('workload', false), block('run', false)]],
    ['a grant after some that only the database can name', [(locks) => locks.takeSome('grants'), own('grants', 'a')]],
    [
      'some that only the database can name after a later kind',
      [own('artifacts', 'a'), (locks) => locks.takeSome('grants')],
    ],
  ])('is one that locks %s', (_, taking) => {
    expect(after(...taking)).not.toBeNull();
  });

  it('takes blocks one by one, each as it needs it, and no row that it has made', () => {
    expect(
      after(made('gr_new'), own('grants', 'gr_new'), own('sessions', 's'), block('workload', true), block('run', false)),
    ).toEqual([
      { of: 'block', ids: ['run', 't', 'run_1'], is_shared: false },
      { of: 'block', ids: ['workload', 't', 'hash'], is_shared: true },
      { of: 'sessions', ids: ['s'], is_shared: false },
    ]);
  });

  it('takes all rows of a kind as strongly as the one that needs it most', () => {
    expect(after(own('artifacts', 'x'), share('grants', 'a'), own('grants', 'b'))).toMatchObject([
      { of: 'grants', ids: ['a', 'b'], is_shared: false },
      { of: 'artifacts' },
    ]);
  });
});
