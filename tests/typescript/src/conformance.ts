// Temporal's official TypeScript SDK as client and worker of the server at PERDURE_ADDRESS.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';

import {
  Client,
  Connection,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
} from '@temporalio/client';
import { ActivityFailure, ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { NativeConnection, Runtime, DefaultLogger, Worker } from '@temporalio/worker';

import * as activities from './activities';
import { ledger } from './activities';
import {
  addSignal,
  basket,
  changing,
  childIsCancelled,
  cleansUp,
  closeSignal,
  countsDown,
  family,
  itemsQuery,
  localOrder,
  order,
  priceUpdate,
} from './workflows';

const address = process.env.PERDURE_ADDRESS ?? '127.0.0.1:7233';
const taskQueue = `typescript-${randomUUID()}`;
const fresh = (name: string): string => `${name}-${randomUUID()}`;

let client: Client;
let near: NativeConnection;
let worker: Worker;
let ended: Promise<void>;

async function newWorker(): Promise<Worker> {
  return Worker.create({
    connection: near,
    taskQueue,
    workflowsPath: require.resolve('./workflows'),
    activities,
    maxHeartbeatThrottleInterval: 50,
    defaultHeartbeatThrottleInterval: 50,
  });
}

before(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  client = new Client({ connection: await Connection.connect({ address }) });
  near = await NativeConnection.connect({ address });
  worker = await newWorker();
  ended = worker.run();
});

after(async () => {
  worker.shutdown();
  await ended;
  await near.close();
  await client.connection.close();
});

test('the order: activities, a retry, a timer', async () => {
  const input = { id: fresh('order'), amount: 42 };
  const result = await client.workflow.execute(order, { taskQueue, workflowId: input.id, args: [input] });
  assert.equal(result, `receipt-${input.id} after 2 track-${input.id}`);
  assert.deepEqual(ledger.get(input.id), ['charged', 'reserve 1', 'reserve 2', 'shipped']);
});

test('a hundred orders at once', async () => {
  const inputs = Array.from({ length: 100 }, () => ({ id: fresh('many'), amount: 1 }));
  await Promise.all(inputs.map((each) => client.workflow.execute(order, { taskQueue, workflowId: each.id, args: [each] })));
  for (const each of inputs) {
    assert.deepEqual(ledger.get(each.id), ['charged', 'reserve 1', 'reserve 2', 'shipped']);
  }
});

test('a failure keeps its type and details on the way to the client', async () => {
  const input = { id: fresh('declined'), amount: 5000 };
  const failed = await client.workflow.execute(order, { taskQueue, workflowId: input.id, args: [input] }).catch((e) => e);
  assert.ok(failed instanceof WorkflowFailedError);
  assert.ok(failed.cause instanceof ActivityFailure);
  const cause = failed.cause.cause;
  assert.ok(cause instanceof ApplicationFailure);
  assert.equal(cause.type, 'CardDeclined');
  assert.deepEqual(cause.details, [{ amount: 5000 }]);
});

test('local activities', async () => {
  const input = { id: fresh('local'), amount: 1 };
  const result = await client.workflow.execute(localOrder, { taskQueue, workflowId: input.id, args: [input] });
  assert.equal(result, `receipt-${input.id} track-${input.id}`);
});

test('signals, queries and updates', async () => {
  const handle = await client.workflow.start(basket, { taskQueue, workflowId: fresh('basket') });
  await handle.signal(addSignal, 'tea');
  await handle.signal(addSignal, 'milk');
  assert.deepEqual(await handle.query(itemsQuery), ['tea', 'milk']);
  assert.equal(await handle.executeUpdate(priceUpdate, { args: ['tea', 3] }), 3);
  assert.equal(await handle.executeUpdate(priceUpdate, { args: ['milk', 2] }), 5);
  const refused = await handle.executeUpdate(priceUpdate, { args: ['coffee', 2] }).catch((e) => e);
  assert.ok(refused instanceof WorkflowUpdateFailedError);
  await handle.signal(closeSignal);
  assert.deepEqual(await handle.result(), { tea: 3, milk: 2 });
  assert.deepEqual(await handle.query(itemsQuery), ['tea', 'milk'], 'a closed workflow still answers');
  const late = await handle.signal(addSignal, 'late').catch((e) => e);
  assert.ok(late instanceof WorkflowNotFoundError);
});

test('an update that is only accepted is fetched later, and is one update by its id', async () => {
  const handle = await client.workflow.start(basket, { taskQueue, workflowId: fresh('basket') });
  await handle.signal(addSignal, 'tea');
  const updateId = fresh('update');
  const update = await handle.startUpdate(priceUpdate, { args: ['tea', 3], waitForStage: 'ACCEPTED', updateId });
  assert.equal(await update.result(), 3);
  assert.equal(await handle.executeUpdate(priceUpdate, { args: ['tea', 99], updateId }), 3);
  await handle.signal(closeSignal);
  assert.deepEqual(await handle.result(), { tea: 3 });
});

test('signal with start, and an id that is taken', async () => {
  const workflowId = fresh('basket');
  const options = { taskQueue, workflowId };
  const handle = await client.workflow.signalWithStart(basket, { ...options, signal: addSignal, signalArgs: ['first'] });
  await client.workflow.signalWithStart(basket, { ...options, signal: addSignal, signalArgs: ['second'] });
  const taken = await client.workflow.start(basket, options).catch((e) => e);
  assert.ok(taken instanceof WorkflowExecutionAlreadyStartedError);
  assert.deepEqual(await handle.query(itemsQuery), ['first', 'second']);
  await handle.terminate('enough');
  const failed = await handle.result().catch((e) => e);
  assert.ok(failed instanceof WorkflowFailedError);
  assert.equal((await handle.describe()).status.name, 'TERMINATED');
});

test('children: results, parent close policy, signals from the parent', async () => {
  const id = fresh('family');
  const results = await client.workflow.execute(family, { taskQueue, workflowId: id, args: [id] });
  assert.deepEqual(results, [1, 2, 3].map((number) => `receipt-${id}-${number} after 2 track-${id}-${number}`));
});

test('cancellation reaches the activity, and the clean-up runs', async () => {
  const input = { id: fresh('cleans-up'), amount: 1 };
  const handle = await client.workflow.start(cleansUp, { taskQueue, workflowId: input.id, args: [input] });
  while (!ledger.get(input.id)?.includes('watching')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  await handle.cancel();
  const failed = await handle.result().catch((e) => e);
  assert.ok(failed instanceof WorkflowFailedError);
  assert.ok(failed.cause instanceof CancelledFailure);
  assert.deepEqual(ledger.get(input.id), ['charged', 'watching', 'watch stopped', 'refunded']);
});

test('cancellation of a child', async () => {
  const id = fresh('parent');
  const result = await client.workflow.execute(childIsCancelled, { taskQueue, workflowId: id, args: [id] });
  assert.equal(result, 'the child was cancelled');
});

test('patches leave their markers, and the memo says which way was taken', async () => {
  for (const release of [2, 3]) {
    const handle = await client.workflow.start(changing, { taskQueue, workflowId: fresh('changing'), args: [release] });
    assert.equal(await handle.result(), 'new');
    const { events } = await handle.fetchHistory();
    const marker = events?.find((event) => event.markerRecordedEventAttributes)?.markerRecordedEventAttributes;
    assert.equal(marker?.markerName, 'core_patch');
    assert.deepEqual((await handle.describe()).memo, { path: 'new' });
  }
});

test('continue-as-new keeps the id', async () => {
  const workflowId = fresh('counts-down');
  const result = await client.workflow.execute(countsDown, { taskQueue, workflowId, args: [3] });
  assert.equal(result, `done in ${workflowId}`);
});

test('a worker that is replaced goes on from history', async () => {
  const handle = await client.workflow.start(basket, { taskQueue, workflowId: fresh('basket') });
  await handle.signal(addSignal, 'tea');
  assert.deepEqual(await handle.query(itemsQuery), ['tea']);
  worker.shutdown();
  await ended;
  worker = await newWorker();
  ended = worker.run();
  await handle.signal(addSignal, 'milk');
  assert.deepEqual(await handle.query(itemsQuery), ['tea', 'milk']);
  await handle.signal(closeSignal);
  await handle.result();
  await Worker.runReplayHistory({ workflowsPath: require.resolve('./workflows') }, await handle.fetchHistory());
});

test('lists and counts, soon after', async () => {
  const workflowId = fresh('counts-down');
  const query = `WorkflowId = '${workflowId}'`;
  await client.workflow.execute(countsDown, { taskQueue, workflowId, args: [1] });
  let found: string[] = [];
  const end = Date.now() + 10_000;
  while (!(found.length === 2 && !found.includes('RUNNING')) && Date.now() < end) {
    found = [];
    for await (const each of client.workflow.list({ query })) {
      found.push(each.status.name);
    }
  }
  assert.deepEqual(found.sort(), ['COMPLETED', 'CONTINUED_AS_NEW']);
  assert.equal((await client.workflow.count(query)).count, 2);
  assert.equal((await client.workflow.count(`${query} AND ExecutionStatus = 'Completed'`)).count, 1);
});
