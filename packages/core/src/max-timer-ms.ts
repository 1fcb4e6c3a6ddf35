/** The longest time of a timer, in milliseconds: a longer one, and so `Infinity`, fires at once. */
export const maxTimerMs: number = 2 ** 31 - 1
