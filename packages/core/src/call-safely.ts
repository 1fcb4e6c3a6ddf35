/** Calls somebody else's function where its error must not stop what we are at.
 *
 * What it throws is uncaught, as from an event listener. */
export function callSafely(callback: () => void): void {
  try {
    callback()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
