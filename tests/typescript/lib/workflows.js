"use strict";
// Workflows of an official SDK, as its users write them.
Object.defineProperty(exports, "__esModule", { value: true });
exports.priceUpdate = exports.itemsQuery = exports.closeSignal = exports.addSignal = void 0;
exports.order = order;
exports.localOrder = localOrder;
exports.basket = basket;
exports.family = family;
exports.childIsCancelled = childIsCancelled;
exports.cleansUp = cleansUp;
exports.changing = changing;
exports.countsDown = countsDown;
const workflow_1 = require("@temporalio/workflow");
const { charge, reserve, ship, refund } = (0, workflow_1.proxyActivities)({
    startToCloseTimeout: '30s',
    retry: { initialInterval: '10ms' },
});
const { watch } = (0, workflow_1.proxyActivities)({
    startToCloseTimeout: '60s',
    heartbeatTimeout: '1s',
    cancellationType: workflow_1.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});
const local = (0, workflow_1.proxyLocalActivities)({ startToCloseTimeout: '5s' });
async function order(input) {
    const receipt = await charge(input);
    const attempts = await reserve(input);
    await (0, workflow_1.sleep)('20ms');
    const tracking = await ship(input);
    return `${receipt} after ${attempts} ${tracking}`;
}
async function localOrder(input) {
    return `${await local.charge(input)} ${await local.ship(input)}`;
}
exports.addSignal = (0, workflow_1.defineSignal)('add');
exports.closeSignal = (0, workflow_1.defineSignal)('close');
exports.itemsQuery = (0, workflow_1.defineQuery)('items');
exports.priceUpdate = (0, workflow_1.defineUpdate)('price');
async function basket() {
    const prices = {};
    const items = [];
    let closed = false;
    (0, workflow_1.setHandler)(exports.addSignal, (item) => void items.push(item));
    (0, workflow_1.setHandler)(exports.closeSignal, () => void (closed = true));
    (0, workflow_1.setHandler)(exports.itemsQuery, () => items);
    (0, workflow_1.setHandler)(exports.priceUpdate, async (item, price) => {
        await (0, workflow_1.sleep)(5);
        prices[item] = price;
        return Object.values(prices).reduce((sum, each) => sum + each, 0);
    }, {
        validator: (item, _price) => {
            if (!items.includes(item)) {
                throw new Error(`there is no ${item} in the basket`);
            }
        },
    });
    await (0, workflow_1.condition)(() => closed);
    return prices;
}
async function family(id) {
    const orders = [1, 2, 3].map((number) => ({ id: `${id}-${number}`, amount: number }));
    const results = await Promise.all(orders.map((each) => (0, workflow_1.executeChild)(order, { args: [each], workflowId: each.id })));
    const left = await (0, workflow_1.startChild)(basket, { workflowId: `${id}-basket`, parentClosePolicy: workflow_1.ParentClosePolicy.ABANDON });
    await left.signal(exports.addSignal, 'from the parent');
    await (0, workflow_1.getExternalWorkflowHandle)(`${id}-basket`).signal(exports.closeSignal);
    await left.result();
    return results;
}
async function childIsCancelled(id) {
    const scope = new workflow_1.CancellationScope({ cancellable: true });
    const child = scope.run(() => (0, workflow_1.executeChild)(basket, {
        workflowId: `${id}-child`,
        cancellationType: workflow_1.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    }));
    await (0, workflow_1.sleep)(10);
    scope.cancel();
    try {
        await child;
    }
    catch (error) {
        return (0, workflow_1.isCancellation)(error) ? 'the child was cancelled' : String(error);
    }
    return 'the child ended by itself';
}
/** Cleans up when it is cancelled, in a scope that cannot be. */
async function cleansUp(input) {
    await charge(input);
    try {
        await watch(input);
    }
    catch (error) {
        if ((0, workflow_1.isCancellation)(error)) {
            await workflow_1.CancellationScope.nonCancellable(() => refund(input));
        }
        throw error;
    }
}
/** The amount says which release of the code runs: before the change, with both ways, after it. */
async function changing(release) {
    let path;
    if (release < 3) {
        path = (0, workflow_1.patched)('new-way') ? 'new' : 'old';
    }
    else {
        (0, workflow_1.deprecatePatch)('new-way');
        path = 'new';
    }
    await (0, workflow_1.sleep)(5);
    (0, workflow_1.upsertMemo)({ path });
    return path;
}
async function countsDown(number) {
    if (number > 0) {
        await (0, workflow_1.continueAsNew)(number - 1);
    }
    return `done in ${(0, workflow_1.workflowInfo)().workflowId}`;
}
