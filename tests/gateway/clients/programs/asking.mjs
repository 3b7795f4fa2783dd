// What both programs need: what to ask, and how to tell what came of it.

export const [base] = process.argv.slice(2);
export const HI = [{ role: "user", content: "hi" }];

// Prints one JSON object: of every question its answer, or what was thrown, as `told` tells it.
export async function tell(questions, told) {
  const answers = {};
  for (const [name, ask] of Object.entries(questions)) {
    try {
      answers[name] = await ask();
    } catch (error) {
      answers[name] = { thrown: error?.constructor?.name, ...told(error) };
    }
  }
  process.stdout.write(JSON.stringify(answers));
}

export async function all(stream, each = (item) => item) {
  const items = [];
  for await (const item of stream) items.push(each(item));
  return items;
}
