import asyncio

import roost

app = roost.App()  # ROOST_URL, or roost.toml, or ./roost.db in this process


@app.job(retries=3, timeout="2m")
def greet(name: str) -> str:
    return f"Hello {name}"


@app.job
async def report(names: list[str], ctx: roost.Context = roost.injected()) -> int:
    greetings = await ctx.map("greet", greet, names)  # a recorded step for each name
    await ctx.approve("Publish", show=greetings, expires="2h")  # held here; no worker waits
    return len(greetings)


@app.schedule("0 8 * * *", tz="Europe/Rome")
async def every_morning() -> None:
    await report.enqueue(["Ana", "Ben"])


if __name__ == "__main__":
    print(asyncio.run(report.enqueue(["Ana", "Ben"])).id)
