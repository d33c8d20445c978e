"""Training text of the fixture tokenizer.

The sentences were written for this project: English, Chinese, mixed, code and emoji. Lines made of
short word lists follow, so that the BPE trainer sees enough repetition.
"""

EN = """
The small engine reads a prompt and writes one token after another.
Please explain how a rainbow forms after the rain has stopped.
She walked along the river until the lights of the town came into view.
My brother's bicycle has a broken chain, so we'll walk to the station today.
I can't remember where I've put the keys; they're probably in the kitchen.
What would you like to have for breakfast tomorrow morning?
The train to the northern coast leaves at 07:45 and arrives at 11:30.
A good answer is short, honest, and easy to check.
If the soup is too salty, add a potato and let it simmer for ten minutes.
He doesn't know that we'd already finished the first part of the work.
There are 365 days in a common year and 366 days in a leap year.
Water boils at 100 degrees at sea level, but at a lower temperature on a mountain.
Could you recommend three quiet places where one can read a book in summer?
The museum opens its doors at nine o'clock and closes at half past five.
Every morning the baker sets out forty loaves of bread before the sun comes up.
I'm sorry, I made a mistake; thank you for pointing it out.
Here is a list of things to bring: a warm coat, two pens, a notebook, and a map.
The quick answer is no; the long answer is that it depends on the weather.
They've been friends since they were seven years old.
Write a short poem about a lighthouse and the people who look after it.
Numbers such as 3.14159, 2.71828 and 1,000,000 should be split in a sensible way.
The model's memory grows with each token that it keeps in its cache.
As an assistant, I try to be helpful, polite and harmless.
Some people might think that the old bridge is ugly, but the painters love it.
In this story, a fox learns to count the stars and forgets to go home.
Let's divide the problem into smaller pieces and solve them one by one.
You'll find the answer on page 42 of the green notebook.
The teacher said: "Nobody is born knowing how to swim."
After the storm, the whole village came out to repair the roofs.
Why does the moon look larger when it is near the horizon?
To plant a tree, dig a hole twice as wide as its roots.
Our neighbours grow tomatoes, cucumbers, beans and a single stubborn lemon tree.
It's raining again!!! Isn't that wonderful???
The history of paper begins long before the history of printing.
A recipe: mix flour with water, add salt and yeast, wait, and bake.
"""

ZH = """
你好，很高兴认识你，请问有什么可以帮助你的吗？
今天的天气很好，我们一起去公园散步吧。
人工智能可以帮助人们更快地找到需要的信息。
请用中文写一首关于春天的小诗。
这座城市的地铁每天早上六点开始运行。
我觉得这本书写得很有意思，你也可以读一读。
水在一百度的时候会沸腾，在零度的时候会结冰。
如果明天下雨，我们就在家里看电影。
他昨天晚上没有睡好，所以今天早上起得很晚。
学习一门新的语言需要时间、耐心和练习。
请问从这里到火车站需要多长时间？
这道题的答案是四十二，但是解题的过程更重要。
中国的茶有很多种，例如绿茶、红茶、白茶和乌龙茶。
妈妈做的面条很好吃，我一次能吃两碗。
小猫在窗台上睡觉，阳光照在它的身上。
我们应该保护环境，少用塑料袋，多走路。
请把下面的句子翻译成英文：我喜欢在海边看日出。
图书馆里非常安静，只能听见翻书的声音。
程序运行的时候出现了错误，请检查第十行的代码。
作为一个语言模型，我会尽量给出准确而有用的回答。
月亮为什么有时候是圆的，有时候是弯的？
这个问题没有标准答案，不同的人有不同的看法。
老师说：“只要每天进步一点点，就会越来越好。”
新年快乐！祝你身体健康，万事如意！
首先把水烧开，然后放入面条，最后加一点盐。
从前有一只小狐狸，它住在森林的深处。
对不起，我刚才的回答有误，感谢你的指正。
可以给我推荐五部适合周末观看的电影吗？
数据的质量比数据的数量更重要。
他们在河边种了三十棵树，每一棵树都有名字。
复旦大学位于上海，是一所历史悠久的大学。
请帮我写一封感谢信，感谢同事们的支持与帮助。
"""

MIX = """
请用 Python 写一个函数，计算 n 的阶乘。
The word 茶 is pronounced "cha" in Mandarin.
我想学习 machine learning，应该从哪里开始？
Rust 的所有权（ownership）规则可以避免很多内存错误。
Please translate "早上好" into English and explain each character.
这个 API 返回 JSON 格式的数据，例如 {"name": "小明", "age": 12}。
CPU 和 GPU 有什么区别？Which one is better for 矩阵乘法？
会议时间改到下午 3:30，地点是 B 座 201 room。
<|Human|>: 你好 MOSS，can you help me?
<|MOSS|>: 当然可以！Of course, what would you like to know?
<|Inner Thoughts|>: None
<|Commands|>: None
<|Results|>: None
<|Inner Thoughts|>: 这是一个关于天气的问题，我需要查询一下。
<|Commands|>: Search("上海 明天 天气")
<|Commands|>: Calculate("12*(3+4)")
<|Results|>:
Search("上海 明天 天气") =>
<|1|>: "明天多云转晴，气温十五到二十二度。"
- Web search: enabled. API: Search(query)
- Calculator: enabled. API: Calculate(expression)
- Equation solver: disabled.
- Text-to-image: disabled.
- Image edition: disabled.
- Text-to-speech: disabled.
价格是 ￥128.50，也就是大约 $18.00 或 €16.70。
温度：-5℃ ~ 12℃；湿度：60%；风速：3 m/s。
Emoji 测试：😀😃😄 🎉🎉 👍 ❤️ 🚀🌙⭐ 🐱🐶🦊
祝你生日快乐 🎂🎁🥳！Have a great day ☀️!
"""

CODE = """
def factorial(n):
    if n <= 1:
        return 1
    return n * factorial(n - 1)

def main():
    numbers = [1, 2, 3, 4, 5]
    for number in numbers:
        print(f"{number}! = {factorial(number)}")

if __name__ == "__main__":
    main()

#include <iostream>

int main() {
    std::cout << "Hello, world!" << std::endl;
    return 0;
}

fn add(a: i32, b: i32) -> i32 {
    let sum = a + b;
    sum
}

pub struct Token {
    pub id: u32,
    pub text: String,
}

impl Token {
    pub fn new(id: u32, text: &str) -> Self {
        Token { id, text: text.to_string() }
    }
}

for (let i = 0; i < items.length; i++) {
\tconsole.log(items[i].name);
}

SELECT name, age FROM users WHERE age >= 18 ORDER BY name;

class Stack:
    def __init__(self):
        self.items = []

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("pop from empty stack")
        return self.items.pop()
"""

SUBJECTS_EN = ["The teacher", "A young student", "The old captain", "My neighbour", "The computer"]
VERBS_EN = ["is looking for", "has written about", "wants to understand", "will explain", "can describe"]
OBJECTS_EN = ["the history of the city", "a simple program", "the weather in autumn",
              "the meaning of the word", "a new language model", "the way to the station"]

SUBJECTS_ZH = ["老师", "那位年轻的学生", "我的朋友", "这个程序", "语言模型"]
VERBS_ZH = ["正在学习", "已经完成了", "想要了解", "可以解释", "需要"]
OBJECTS_ZH = ["这座城市的历史", "一个简单的程序", "秋天的天气", "这个词的意思", "新的语言模型", "去车站的路"]


def lines():
    """Returns all training lines in a fixed order, with their indentation."""
    out = []
    for block in (EN, ZH, MIX, CODE):
        out += [line for line in block.split("\n")]
    for i, subject in enumerate(SUBJECTS_EN):
        for j, verb in enumerate(VERBS_EN):
            for k, obj in enumerate(OBJECTS_EN):
                if (i + j + k) % 2 == 0:
                    out.append(f"{subject} {verb} {obj}.")
    for i, subject in enumerate(SUBJECTS_ZH):
        for j, verb in enumerate(VERBS_ZH):
            for k, obj in enumerate(OBJECTS_ZH):
                if (i + j + k) % 2 == 1:
                    out.append(f"{subject}{verb}{obj}。")
    for year in range(1990, 2024):
        houses = year * 7 % 997
        out.append(
            f"In {year} the town counted {houses} new houses; {year} 年新建了 {houses} 座房屋。"
        )
    return out
