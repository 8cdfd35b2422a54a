/** What costs something is done once it comes into sight: in a tab that is opened, or by scrolling. */

const BEFORE_PX = 300;

/** @param {Element} element @param {() => void} act @param {AbortSignal} signal */
export function whenSeen(element, act, signal) {
  const watcher = new IntersectionObserver(
    (seen) => {
      if (!seen.some((each) => each.isIntersecting)) return;
      watcher.disconnect();
      act();
    },
    { rootMargin: `${BEFORE_PX}px` },
  );
  watcher.observe(element);
  signal.addEventListener("abort", () => watcher.disconnect());
}
