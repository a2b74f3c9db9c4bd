export type ApprovalState = 'pending' | 'approved' | 'denied' | 'expired';

export const APPROVAL_TRANSITIONS: Readonly<Record<ApprovalState, readonly ApprovalState[]>> = {
  pending: ['approved', 'denied', 'expired'],
  approved: [],
  denied: [],
  expired: [],
};
