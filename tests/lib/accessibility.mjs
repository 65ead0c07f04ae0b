// What a machine can tell about a page's accessibility: axe-core's rules of WCAG 2.2 A and AA and its best practices.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const axe = createRequire(import.meta.url)('axe-core').source;
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

/** Fails with each element that breaks a rule in the page as it stands now, and why; frames of the page included. */
export async function assertAccessible(page, what) {
    // What fades in has too little contrast for a moment: only what the reader gets to see is judged.
    await page.evaluate(() => Promise.all(document.getAnimations()
        .filter((animation) => animation.effect.getComputedTiming().endTime !== Infinity)
        .map((animation) => animation.finished.catch(() => undefined))));
    await page.evaluate(axe);
    const violations = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags }).then((result) => result.violations), RULES);
    const found = violations.flatMap(({ id, help, nodes }) => nodes.map((node) => `${id}: ${help}: ${node.target.join(' ')}: ${node.failureSummary}`));
    assert.deepEqual(found, [], `${what} breaks rules of accessibility`);
}
