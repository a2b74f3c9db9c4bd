import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Approval, decideApproval, expireApproval, type PendingApproval } from '../../src/domain/approval.ts';
import type { AgentId, ApprovalId, GrantId, RunId, SessionId, TenantId } from '../../src/domain/ids.ts';
import { after } from '../support/entities.ts';

const anApproval = (requiredApprovers = 1): PendingApproval => ({
  id: 'ap_1' as ApprovalId,
  tenantId: 't_1' as TenantId,
  sessionId: 'sess_1' as SessionId,
  grantId: 'gr_1' as GrantId,
  agentId: 'agent' as AgentId,
  runId: 'run' as RunId,
  requestHash: '0'.repeat(64),
  requiredApprovers,
  reuse: false,
  excluded: [],
  state: 'pending',
  decisions: [],
  createdAt: after(0),
  expiresAt: after(300),
});
const word = (decision: 'approve' | 'deny', subject: string, seconds = 1, issuer = 'https://login.example') => ({
  approver: { issuer, subject },
  decision,
  comment: '',
  at: after(seconds),
});

describe('an approval', () => {
  test('that needs one is given by one', () => {
    expect(decideApproval(anApproval(), word('approve', 'olga'))).toMatchObject({ state: 'approved', endedAt: after(1) });
  });

  test('that needs three is pending until the third', () => {
    let approval: Approval = anApproval(3);
    for (const [subject, state] of [
      ['olga', 'pending'],
      ['otto', 'pending'],
      ['ona', 'approved'],
    ] as const) {
      approval = decideApproval(approval, word('approve', subject));
      expect(approval.state).toBe(state);
    }
    expect(approval.decisions).toHaveLength(3);
  });

  test('counts a person once, whoever vouches for them', () => {
    const once = decideApproval(anApproval(2), word('approve', 'olga'));
    expect(() => decideApproval(once, word('approve', 'olga'))).toThrow('you have approved it before');
    expect(() => decideApproval(once, word('approve', 'olga', 2, 'https://other.example'))).toThrow('before');
  });

  test('ends with one no, also of whoever said yes before', () => {
    const once = decideApproval(anApproval(2), word('approve', 'olga'));
    expect(decideApproval(once, word('deny', 'olga'))).toMatchObject({ state: 'denied' });
  });

  test('takes no word once its time is up, to the millisecond', () => {
    expect(decideApproval(anApproval(), word('approve', 'olga', 299.999)).state).toBe('approved');
    expect(() => decideApproval(anApproval(), word('approve', 'olga', 300))).toThrow('has expired');
  });

  test('is decided once, whatever is said and in whatever order', () => {
    const step = fc.oneof(
      fc.constant('expire' as const),
      fc.record({ decision: fc.constantFrom('approve' as const, 'deny' as const), subject: fc.constantFrom('a', 'b', 'c') }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3 }), fc.array(step, { maxLength: 12 }), (required, steps) => {
        let approval: Approval = anApproval(required);
        let ends = 0;
        for (const next of steps) {
          const before = approval;
          try {
            approval =
              next === 'expire'
                ? expireApproval(approval, after(400))
                : decideApproval(approval, word(next.decision, next.subject));
          } catch {
            expect(approval).toBe(before);
            continue;
          }
          expect(before.state).toBe('pending');
          if (approval.state !== 'pending') ends += 1;
        }
        expect(ends).toBeLessThanOrEqual(1);
        const yes = new Set(
          approval.decisions.filter(({ decision }) => decision === 'approve').map(({ approver }) => approver.subject),
        );
        if (approval.state === 'approved') expect(yes.size).toBe(required);
        else expect(yes.size).toBeLessThan(required + (approval.state === 'denied' ? 1 : 0));
      }),
    );
  });
});
