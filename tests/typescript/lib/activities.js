"use strict";
// The side effects of the order, and what they did: the worker runs in the process of the tests.
Object.defineProperty(exports, "__esModule", { value: true });
exports.ledger = void 0;
exports.charge = charge;
exports.reserve = reserve;
exports.ship = ship;
exports.refund = refund;
exports.watch = watch;
const common_1 = require("@temporalio/common");
const activity_1 = require("@temporalio/activity");
/** What each order's activities did, in order. */
exports.ledger = new Map();
function note(order, what) {
    exports.ledger.set(order.id, [...(exports.ledger.get(order.id) ?? []), what]);
}
async function charge(order) {
    if (order.amount > 1000) {
        throw common_1.ApplicationFailure.nonRetryable('card declined', 'CardDeclined', { amount: order.amount });
    }
    note(order, 'charged');
    return `receipt-${order.id}`;
}
/** Fails once: the second attempt succeeds. */
async function reserve(order) {
    const { attempt } = activity_1.Context.current().info;
    note(order, `reserve ${attempt}`);
    if (attempt === 1) {
        throw new Error('the warehouse is out for lunch');
    }
    return attempt;
}
async function ship(order) {
    note(order, 'shipped');
    return `track-${order.id}`;
}
async function refund(order) {
    note(order, 'refunded');
}
/** Heartbeats until it is told to stop. */
async function watch(order) {
    note(order, 'watching');
    try {
        for (;;) {
            activity_1.Context.current().heartbeat();
            await activity_1.Context.current().sleep(20);
        }
    }
    catch (error) {
        if (error instanceof activity_1.CancelledFailure) {
            note(order, 'watch stopped');
        }
        throw error;
    }
}
