"use strict";
// Temporal's official TypeScript SDK as client and worker of the server at PERDURE_ADDRESS.
var __createBinding = (this && this.__createBinding) || (Object.create ? (function(o, m, k, k2) {
    if (k2 === undefined) k2 = k;
    var desc = Object.getOwnPropertyDescriptor(m, k);
    if (!desc || ("get" in desc ? !m.__esModule : desc.writable || desc.configurable)) {
      desc = { enumerable: true, get: function() { return m[k]; } };
    }
    Object.defineProperty(o, k2, desc);
}) : (function(o, m, k, k2) {
    if (k2 === undefined) k2 = k;
    o[k2] = m[k];
}));
var __setModuleDefault = (this && this.__setModuleDefault) || (Object.create ? (function(o, v) {
    Object.defineProperty(o, "default", { enumerable: true, value: v });
}) : function(o, v) {
    o["default"] = v;
});
var __importStar = (this && this.__importStar) || (function () {
    var ownKeys = function(o) {
        ownKeys = Object.getOwnPropertyNames || function (o) {
            var ar = [];
            for (var k in o) if (Object.prototype.hasOwnProperty.call(o, k)) ar[ar.length] = k;
            return ar;
        };
        return ownKeys(o);
    };
    return function (mod) {
        if (mod && mod.__esModule) return mod;
        var result = {};
        if (mod != null) for (var k = ownKeys(mod), i = 0; i < k.length; i++) if (k[i] !== "default") __createBinding(result, mod, k[i]);
        __setModuleDefault(result, mod);
        return result;
    };
})();
var __importDefault = (this && this.__importDefault) || function (mod) {
    return (mod && mod.__esModule) ? mod : { "default": mod };
};
Object.defineProperty(exports, "__esModule", { value: true });
const strict_1 = __importDefault(require("node:assert/strict"));
const node_crypto_1 = require("node:crypto");
const node_test_1 = require("node:test");
const client_1 = require("@temporalio/client");
const common_1 = require("@temporalio/common");
const worker_1 = require("@temporalio/worker");
const activities = __importStar(require("./activities"));
const activities_1 = require("./activities");
const workflows_1 = require("./workflows");
const address = process.env.PERDURE_ADDRESS ?? '127.0.0.1:7233';
const taskQueue = `typescript-${(0, node_crypto_1.randomUUID)()}`;
const fresh = (name) => `${name}-${(0, node_crypto_1.randomUUID)()}`;
let client;
let near;
let worker;
let ended;
async function newWorker() {
    return worker_1.Worker.create({
        connection: near,
        taskQueue,
        workflowsPath: require.resolve('./workflows'),
        activities,
        maxHeartbeatThrottleInterval: 50,
        defaultHeartbeatThrottleInterval: 50,
    });
}
(0, node_test_1.before)(async () => {
    worker_1.Runtime.install({ logger: new worker_1.DefaultLogger('ERROR') });
    client = new client_1.Client({ connection: await client_1.Connection.connect({ address }) });
    near = await worker_1.NativeConnection.connect({ address });
    worker = await newWorker();
    ended = worker.run();
});
(0, node_test_1.after)(async () => {
    worker.shutdown();
    await ended;
    await near.close();
    await client.connection.close();
});
(0, node_test_1.test)('the order: activities, a retry, a timer', async () => {
    const input = { id: fresh('order'), amount: 42 };
    const result = await client.workflow.execute(workflows_1.order, { taskQueue, workflowId: input.id, args: [input] });
    strict_1.default.equal(result, `receipt-${input.id} after 2 track-${input.id}`);
    strict_1.default.deepEqual(activities_1.ledger.get(input.id), ['charged', 'reserve 1', 'reserve 2', 'shipped']);
});
(0, node_test_1.test)('a hundred orders at once', async () => {
    const inputs = Array.from({ length: 100 }, () => ({ id: fresh('many'), amount: 1 }));
    await Promise.all(inputs.map((each) => client.workflow.execute(workflows_1.order, { taskQueue, workflowId: each.id, args: [each] })));
    for (const each of inputs) {
        strict_1.default.deepEqual(activities_1.ledger.get(each.id), ['charged', 'reserve 1', 'reserve 2', 'shipped']);
    }
});
(0, node_test_1.test)('a failure keeps its type and details on the way to the client', async () => {
    const input = { id: fresh('declined'), amount: 5000 };
    const failed = await client.workflow.execute(workflows_1.order, { taskQueue, workflowId: input.id, args: [input] }).catch((e) => e);
    strict_1.default.ok(failed instanceof client_1.WorkflowFailedError);
    strict_1.default.ok(failed.cause instanceof common_1.ActivityFailure);
    const cause = failed.cause.cause;
    strict_1.default.ok(cause instanceof common_1.ApplicationFailure);
    strict_1.default.equal(cause.type, 'CardDeclined');
    strict_1.default.deepEqual(cause.details, [{ amount: 5000 }]);
});
(0, node_test_1.test)('local activities', async () => {
    const input = { id: fresh('local'), amount: 1 };
    const result = await client.workflow.execute(workflows_1.localOrder, { taskQueue, workflowId: input.id, args: [input] });
    strict_1.default.equal(result, `receipt-${input.id} track-${input.id}`);
});
(0, node_test_1.test)('signals, queries and updates', async () => {
    const handle = await client.workflow.start(workflows_1.basket, { taskQueue, workflowId: fresh('basket') });
    await handle.signal(workflows_1.addSignal, 'tea');
    await handle.signal(workflows_1.addSignal, 'milk');
    strict_1.default.deepEqual(await handle.query(workflows_1.itemsQuery), ['tea', 'milk']);
    strict_1.default.equal(await handle.executeUpdate(workflows_1.priceUpdate, { args: ['tea', 3] }), 3);
    strict_1.default.equal(await handle.executeUpdate(workflows_1.priceUpdate, { args: ['milk', 2] }), 5);
    const refused = await handle.executeUpdate(workflows_1.priceUpdate, { args: ['coffee', 2] }).catch((e) => e);
    strict_1.default.ok(refused instanceof client_1.WorkflowUpdateFailedError);
    await handle.signal(workflows_1.closeSignal);
    strict_1.default.deepEqual(await handle.result(), { tea: 3, milk: 2 });
    strict_1.default.deepEqual(await handle.query(workflows_1.itemsQuery), ['tea', 'milk'], 'a closed workflow still answers');
    const late = await handle.signal(workflows_1.addSignal, 'late').catch((e) => e);
    strict_1.default.ok(late instanceof client_1.WorkflowNotFoundError);
});
(0, node_test_1.test)('an update that is only accepted is fetched later, and is one update by its id', async () => {
    const handle = await client.workflow.start(workflows_1.basket, { taskQueue, workflowId: fresh('basket') });
    await handle.signal(workflows_1.addSignal, 'tea');
    const updateId = fresh('update');
    const update = await handle.startUpdate(workflows_1.priceUpdate, { args: ['tea', 3], waitForStage: 'ACCEPTED', updateId });
    strict_1.default.equal(await update.result(), 3);
    strict_1.default.equal(await handle.executeUpdate(workflows_1.priceUpdate, { args: ['tea', 99], updateId }), 3);
    await handle.signal(workflows_1.closeSignal);
    strict_1.default.deepEqual(await handle.result(), { tea: 3 });
});
(0, node_test_1.test)('signal with start, and an id that is taken', async () => {
    const workflowId = fresh('basket');
    const options = { taskQueue, workflowId };
    const handle = await client.workflow.signalWithStart(workflows_1.basket, { ...options, signal: workflows_1.addSignal, signalArgs: ['first'] });
    await client.workflow.signalWithStart(workflows_1.basket, { ...options, signal: workflows_1.addSignal, signalArgs: ['second'] });
    const taken = await client.workflow.start(workflows_1.basket, options).catch((e) => e);
    strict_1.default.ok(taken instanceof client_1.WorkflowExecutionAlreadyStartedError);
    strict_1.default.deepEqual(await handle.query(workflows_1.itemsQuery), ['first', 'second']);
    await handle.terminate('enough');
    const failed = await handle.result().catch((e) => e);
    strict_1.default.ok(failed instanceof client_1.WorkflowFailedError);
    strict_1.default.equal((await handle.describe()).status.name, 'TERMINATED');
});
(0, node_test_1.test)('children: results, parent close policy, signals from the parent', async () => {
    const id = fresh('family');
    const results = await client.workflow.execute(workflows_1.family, { taskQueue, workflowId: id, args: [id] });
    strict_1.default.deepEqual(results, [1, 2, 3].map((number) => `receipt-${id}-${number} after 2 track-${id}-${number}`));
});
(0, node_test_1.test)('cancellation reaches the activity, and the clean-up runs', async () => {
    const input = { id: fresh('cleans-up'), amount: 1 };
    const handle = await client.workflow.start(workflows_1.cleansUp, { taskQueue, workflowId: input.id, args: [input] });
    while (!activities_1.ledger.get(input.id)?.includes('watching')) {
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await handle.cancel();
    const failed = await handle.result().catch((e) => e);
    strict_1.default.ok(failed instanceof client_1.WorkflowFailedError);
    strict_1.default.ok(failed.cause instanceof common_1.CancelledFailure);
    strict_1.default.deepEqual(activities_1.ledger.get(input.id), ['charged', 'watching', 'watch stopped', 'refunded']);
});
(0, node_test_1.test)('cancellation of a child', async () => {
    const id = fresh('parent');
    const result = await client.workflow.execute(workflows_1.childIsCancelled, { taskQueue, workflowId: id, args: [id] });
    strict_1.default.equal(result, 'the child was cancelled');
});
(0, node_test_1.test)('patches leave their markers, and the memo says which way was taken', async () => {
    for (const release of [2, 3]) {
        const handle = await client.workflow.start(workflows_1.changing, { taskQueue, workflowId: fresh('changing'), args: [release] });
        strict_1.default.equal(await handle.result(), 'new');
        const { events } = await handle.fetchHistory();
        const marker = events?.find((event) => event.markerRecordedEventAttributes)?.markerRecordedEventAttributes;
        strict_1.default.equal(marker?.markerName, 'core_patch');
        strict_1.default.deepEqual((await handle.describe()).memo, { path: 'new' });
    }
});
(0, node_test_1.test)('continue-as-new keeps the id', async () => {
    const workflowId = fresh('counts-down');
    const result = await client.workflow.execute(workflows_1.countsDown, { taskQueue, workflowId, args: [3] });
    strict_1.default.equal(result, `done in ${workflowId}`);
});
(0, node_test_1.test)('a worker that is replaced goes on from history', async () => {
    const handle = await client.workflow.start(workflows_1.basket, { taskQueue, workflowId: fresh('basket') });
    await handle.signal(workflows_1.addSignal, 'tea');
    strict_1.default.deepEqual(await handle.query(workflows_1.itemsQuery), ['tea']);
    worker.shutdown();
    await ended;
    worker = await newWorker();
    ended = worker.run();
    await handle.signal(workflows_1.addSignal, 'milk');
    strict_1.default.deepEqual(await handle.query(workflows_1.itemsQuery), ['tea', 'milk']);
    await handle.signal(workflows_1.closeSignal);
    await handle.result();
    await worker_1.Worker.runReplayHistory({ workflowsPath: require.resolve('./workflows') }, await handle.fetchHistory());
});
(0, node_test_1.test)('lists and counts, soon after', async () => {
    const workflowId = fresh('counts-down');
    const query = `WorkflowId = '${workflowId}'`;
    await client.workflow.execute(workflows_1.countsDown, { taskQueue, workflowId, args: [1] });
    let found = [];
    const end = Date.now() + 10_000;
    while (!(found.length === 2 && !found.includes('RUNNING')) && Date.now() < end) {
        found = [];
        for await (const each of client.workflow.list({ query })) {
            found.push(each.status.name);
        }
    }
    strict_1.default.deepEqual(found.sort(), ['COMPLETED', 'CONTINUED_AS_NEW']);
    strict_1.default.equal((await client.workflow.count(query)).count, 2);
    strict_1.default.equal((await client.workflow.count(`${query} AND ExecutionStatus = 'Completed'`)).count, 1);
});
