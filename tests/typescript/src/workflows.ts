// Workflows of an official SDK, as its users write them.

import {
  ActivityCancellationType,
  CancellationScope,
  ChildWorkflowCancellationType,
  ParentClosePolicy,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  defineUpdate,
  deprecatePatch,
  executeChild,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  sleep,
  startChild,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';

import type * as activities from './activities';
import type { Order } from './activities';

const { charge, reserve, ship, refund } = proxyActivities<typeof activities>({
  startToCloseTimeout: '30s',
  retry: { initialInterval: '10ms' },
});
const { watch } = proxyActivities<typeof activities>({
  startToCloseTimeout: '60s',
  heartbeatTimeout: '1s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
});
const local = proxyLocalActivities<typeof activities>({ startToCloseTimeout: '5s' });

export async function order(input: Order): Promise<string> {
  const receipt = await charge(input);
  const attempts = await reserve(input);
  await sleep('20ms');
  const tracking = await ship(input);
  return `${receipt} after ${attempts} ${tracking}`;
}

export async function localOrder(input: Order): Promise<string> {
  return `${await local.charge(input)} ${await local.ship(input)}`;
}

export const addSignal = defineSignal<[string]>('add');
export const closeSignal = defineSignal('close');
export const itemsQuery = defineQuery<string[]>('items');
export const priceUpdate = defineUpdate<number, [string, number]>('price');

export async function basket(): Promise<Record<string, number>> {
  const prices: Record<string, number> = {};
  const items: string[] = [];
  let closed = false;
  setHandler(addSignal, (item) => void items.push(item));
  setHandler(closeSignal, () => void (closed = true));
  setHandler(itemsQuery, () => items);
  setHandler(
    priceUpdate,
    async (item, price) => {
      await sleep(5);
      prices[item] = price;
      return Object.values(prices).reduce((sum, each) => sum + each, 0);
    },
    {
      validator: (item, _price) => {
        if (!items.includes(item)) {
          throw new Error(`there is no ${item} in the basket`);
        }
      },
    },
  );
  await condition(() => closed);
  return prices;
}

export async function family(id: string): Promise<string[]> {
  const orders = [1, 2, 3].map((number) => ({ id: `${id}-${number}`, amount: number }));
  const results = await Promise.all(orders.map((each) => executeChild(order, { args: [each], workflowId: each.id })));
  const left = await startChild(basket, { workflowId: `${id}-basket`, parentClosePolicy: ParentClosePolicy.ABANDON });
  await left.signal(addSignal, 'from the parent');
  await getExternalWorkflowHandle(`${id}-basket`).signal(closeSignal);
  await left.result();
  return results;
}

export async function childIsCancelled(id: string): Promise<string> {
  const scope = new CancellationScope({ cancellable: true });
  const child = scope.run(() =>
    executeChild(basket, {
      workflowId: `${id}-child`,
      cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
    }),
  );
  await sleep(10);
  scope.cancel();
  try {
    await child;
  } catch (error) {
    return isCancellation(error) ? 'the child was cancelled' : String(error);
  }
  return 'the child ended by itself';
}

/** Cleans up when it is cancelled, in a scope that cannot be. */
export async function cleansUp(input: Order): Promise<void> {
  await charge(input);
  try {
    await watch(input);
  } catch (error) {
    if (isCancellation(error)) {
      await CancellationScope.nonCancellable(() => refund(input));
    }
    throw error;
  }
}

/** The amount says which release of the code runs: before the change, with both ways, after it. */
export async function changing(release: number): Promise<string> {
  let path: string;
  if (release < 3) {
    path = patched('new-way') ? 'new' : 'old';
  } else {
    deprecatePatch('new-way');
    path = 'new';
  }
  await sleep(5);
  upsertMemo({ path });
  return path;
}

export async function countsDown(number: number): Promise<string> {
  if (number > 0) {
    await continueAsNew<typeof countsDown>(number - 1);
  }
  return `done in ${workflowInfo().workflowId}`;
}
