// Asking the settler that served this page.

const ANSWERS_WITHIN_MS = 30_000;

/** An answer as JSON, or an error that a person can read. */
export const ask = async (path, method = "GET") => {
  let response;
  try {
    response = await fetch(path, { method, signal: AbortSignal.timeout(ANSWERS_WITHIN_MS) });
  } catch (error) {
    throw new Error(error.name === "TimeoutError" ? "The settler takes too long to answer" : "The settler does not answer");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error ?? `The settler answers ${response.status}`);
  return answer;
};
