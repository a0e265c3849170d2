// The side effects of the order, and what they did: the worker runs in the process of the tests.

import { ApplicationFailure } from '@temporalio/common';
import { CancelledFailure, Context } from '@temporalio/activity';

export interface Order {
  id: string;
  amount: number;
}

/** What each order's activities did, in order. */
export const ledger = new Map<string, string[]>();

function note(order: Order, what: string): void {
  ledger.set(order.id, [...(ledger.get(order.id) ?? []), what]);
}

export async function charge(order: Order): Promise<string> {
  if (order.amount > 1000) {
    throw ApplicationFailure.nonRetryable('card declined', 'CardDeclined', { amount: order.amount });
  }
  note(order, 'charged');
  return `receipt-${order.id}`;
}

/** Fails once: the second attempt succeeds. */
export async function reserve(order: Order): Promise<number> {
  const { attempt } = Context.current().info;
  note(order, `reserve ${attempt}`);
  if (attempt === 1) {
    throw new Error('the warehouse is out for lunch');
  }
  return attempt;
}

export async function ship(order: Order): Promise<string> {
  note(order, 'shipped');
  return `track-${order.id}`;
}

export async function refund(order: Order): Promise<void> {
  note(order, 'refunded');
}

/** Heartbeats until it is told to stop. */
export async function watch(order: Order): Promise<void> {
  note(order, 'watching');
  try {
    for (;;) {
      Context.current().heartbeat();
      await Context.current().sleep(20);
    }
  } catch (error) {
    if (error instanceof CancelledFailure) {
      note(order, 'watch stopped');
    }
    throw error;
  }
}
